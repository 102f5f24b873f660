//! The connection of a stream: one thread ships the log to the node, byte for byte; another receives the node's
//! acknowledgements and comparisons.

use std::sync::Arc;
use std::thread;

use super::ship::{ShipError, Shipment, Shipped, acknowledge};
use super::side::MasterSide;
use crate::ids::{Lsn, StreamId};
use crate::replication::link::{LinkError, Links, Receiver, Sender};
use crate::replication::protocol::{HEARTBEAT, Message, Reason};
use crate::storage::log::tail::TailError;

/// Serves a stream connection.
pub(super) fn serve(
    shared: &Arc<MasterSide>,
    mut sender: Sender,
    mut receiver: Receiver,
    links: &Arc<Links>,
) -> Result<(), LinkError> {
    let Message::Follow { epoch, core, from } = receiver.message()? else { return Err(LinkError::OutOfTurn) };
    let stream = StreamId::new(epoch, core);
    let listener = {
        let (shared, links) = (shared.clone(), links.clone());
        let listen = move || {
            let ended = hear_all(&shared, stream, &mut receiver);
            let was_over = links.are_shut();
            // Ends the session, and with it the thread that ships. Only the connection of an ended epoch's stream may
            // end without the session.
            if stream.epoch == shared.epoch {
                links.shut();
            }
            if let Err(e) = ended
                && !matches!(e, LinkError::Closed)
                && !was_over
                && !shared.is_stopping()
            {
                tracing::info!(%stream, "checkpoint node: {e}");
            }
        };
        thread::Builder::new().name("ckpt-ack".to_owned()).spawn(listen)?
    };
    let ended = feed(shared, stream, from, &mut sender, links);
    drop(sender);
    drop(listener.join());
    ended
}

/// Ships the stream: in the present epoch as frames become durable, in an ended epoch to its end. The node closes the
/// connection of an ended epoch's stream once it has applied everything.
fn feed(shared: &MasterSide, stream: StreamId, from: Lsn, sender: &mut Sender, links: &Links) -> Result<(), LinkError> {
    let mut shipment = match Shipment::open(shared, stream, from) {
        Ok(shipment) => shipment,
        Err(e) => return refuse(stream, &e, sender),
    };
    let marks = shared.streams.get(usize::from(stream.core.0)).filter(|_| stream.epoch == shared.epoch);
    while !shared.is_stopping() && !links.are_shut() {
        match shipment.next(HEARTBEAT) {
            Ok(Shipped::End(last)) => return sender.send(&Message::End(last)),
            Ok(Shipped::Run(run)) => {
                sender.send_log(run)?;
                // A log that has ended wakes nobody any more, so `next` returns at once: only heartbeats are left to
                // send.
                if run.is_empty() && marks.is_some_and(|marks| marks.has_ended()) {
                    thread::sleep(HEARTBEAT / 4);
                }
            }
            Err(e) => return refuse(stream, &e, sender),
        }
    }
    Ok(())
}

/// Refuses to ship a stream, and tells the node why.
fn refuse(stream: StreamId, why: &ShipError, sender: &mut Sender) -> Result<(), LinkError> {
    let reason = match why {
        ShipError::Unknown | ShipError::Tail(TailError::Dropped(_)) => Reason::Unknown,
        ShipError::Tail(_) | ShipError::Storage(_) => {
            tracing::error!(%stream, "cannot ship the log to the checkpoint node: {why}");
            Reason::Disk
        }
    };
    sender.refuse(reason, &why.to_string());
    Ok(())
}

/// Receives acknowledgements and comparisons until the connection ends.
fn hear_all(shared: &MasterSide, stream: StreamId, receiver: &mut Receiver) -> Result<(), LinkError> {
    loop {
        acknowledge(shared, stream, receiver.message()?)?;
    }
}
