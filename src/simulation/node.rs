//! The checkpoint node as a process of the simulated world: its followers, captures, uploads, downloads and directory
//! are the real ones; only the threads and sockets are the simulator's.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use super::network::{Line, Network};
use crate::encoding::slot::slot_of;
use crate::ids::{PartitionId, Position};
use crate::replication::clock::Clock;
use crate::replication::link::LinkError;
use crate::replication::node::bootstrap::{Download, begin_anew, load_own};
use crate::replication::node::directory::NodeDir;
use crate::replication::node::error::SessionError;
use crate::replication::node::follow::{FollowError, Follower, StreamState};
use crate::replication::node::mirror::Part;
use crate::replication::node::outbox::{Item, Outbox, Ready};
use crate::replication::node::plan::{Leg, Terms};
use crate::replication::node::session::Session;
use crate::replication::node::throttle::Throttle;
use crate::replication::node::upload::{Upload, refused, write};
use crate::replication::node::{Node as Core, NodeError, Options, Stop, handover};
use crate::replication::protocol::{HEARTBEAT, Message, Reason, Received, Role, SILENCE};
use crate::storage::model::{NOW, Process};

/// A running node.
pub(super) struct Node {
    pub(super) process: Process,
    /// Its partitions: in one part, or split by the streams that are followed.
    parts: Rc<RefCell<Vec<Part>>>,
    /// Why the node cannot go on, if it cannot.
    pub(super) failed: Rc<RefCell<Option<String>>>,
    /// Whether the node is to end in good order.
    ending: Rc<Cell<bool>>,
    /// The result of [`handover::hand_over`], once the node has ended in good order.
    left: Rc<Cell<Option<Option<Position>>>>,
}

impl Node {
    /// Starts a node on `process`.
    pub(super) fn start(process: Process, network: &Network) -> Self {
        let parts = Rc::<RefCell<Vec<Part>>>::default();
        let failed = Rc::<RefCell<Option<String>>>::default();
        let (ending, left) = (Rc::<Cell<bool>>::default(), Rc::<Cell<_>>::default());
        let run = {
            let (process, network, parts, failed) = (process.clone(), network.clone(), parts.clone(), failed.clone());
            let (ending, left) = (ending.clone(), left.clone());
            async move {
                match run(&process, &network, &parts, &ending).await {
                    Ok(reached) => left.set(Some(reached)),
                    Err(error) => {
                        process.world().note(|| format!("the node cannot go on: {error}"));
                        failed.replace(Some(error.to_string()));
                    }
                }
            }
        };
        process.spawn(run);
        Self { process, parts, failed, ending, left }
    }

    /// Makes the node end in good order.
    pub(super) fn end(&self) {
        self.ending.set(true);
    }

    /// How far the data directory that the node left behind reaches, `Some(None)` if it left none; `None` until the
    /// node has ended in good order.
    pub(super) fn left_behind(&self) -> Option<Option<Position>> {
        self.left.get()
    }

    /// The position up to which the node holds the edits of a key.
    pub(super) fn reached(&self, key: &[u8]) -> Position {
        let (slot, parts) = (slot_of(key), self.parts.borrow());
        let mut replicas = parts.iter().map(|part| &part.replica);
        let holder = replicas.find(|replica| replica.owned().contains(&replica.partitions().of(slot).0));
        holder.map(|replica| replica.slot_position(slot)).unwrap_or_default()
    }

    /// The positions of the node's partitions.
    pub(super) fn positions(&self) -> Vec<(PartitionId, Position)> {
        let parts = self.parts.borrow();
        parts.iter().flat_map(|part| part.partitions().map(|partition| (partition, part.position(partition)))).collect()
    }

    /// The digests of a partition's slots as the node holds them.
    pub(super) fn digests(&self, partition: PartitionId) -> Option<Vec<u64>> {
        let parts = self.parts.borrow();
        let part = parts.iter().find(|part| part.replica.owned().contains(&partition.0))?;
        Some(part.replica.store().digests(partition))
    }
}

async fn run(
    process: &Process,
    network: &Network,
    parts: &RefCell<Vec<Part>>,
    ending: &Cell<bool>,
) -> Result<Option<Position>, NodeError> {
    let world = process.world();
    let own = NodeDir::open(process.clone(), Path::new("/node"))?;
    let node = Core {
        options: Options {
            master: String::new(),
            dir: PathBuf::from("/node"),
            password: None,
            upload_bytes_per_second: None,
            timeout: SILENCE,
            parent: None,
        },
        own,
        outbox: Outbox::default(),
        throttle: Mutex::new(Throttle::new(None)),
        clock: Clock::Set(&NOW),
        stop: Stop::default(),
        number: world.draw(|random| random.u64(..)),
    };
    while !ending.get() {
        match session(&node, network, parts).await {
            Err(SessionError::Final(e)) => return Err(e),
            Err(e) => world.note(|| format!("the node's session ends: {e}")),
            Ok(()) => {}
        }
        world.sleep(Duration::from_millis(world.draw(|random| random.u64(5..300)))).await;
    }
    if parts.borrow().is_empty() { Ok(None) } else { with_whole(parts, |whole| handover::hand_over(&node.own, whole)) }
}

/// Runs one session, from its hello to its end.
async fn session(node: &Core<Process>, network: &Network, parts: &RefCell<Vec<Part>>) -> Result<(), SessionError> {
    let mut control = network.connect(node.own.files())?;
    control.send(&Message::Hello(node.hello(Role::Control, 0)));
    let Message::Welcome(welcome) = control.message().await? else { return Err(LinkError::OutOfTurn.into()) };
    let terms = Terms::new(welcome).map_err(SessionError::Welcome)?;
    let id = crate::ids::DirectoryId(terms.welcome.directory);
    node.own.belong_to(id)?;
    if parts.borrow().is_empty() {
        parts.borrow_mut().push(Part::empty(terms.partitions, 0..terms.partitions.count()));
    }
    let session = Session { node, terms, links: Arc::default() };
    prepare(&session, network, parts).await?;
    let positions: Vec<_> = with_whole(parts, |whole| whole.partitions().map(|p| whole.position(p)).collect());
    let mut epochs = session.terms.legs(&positions);
    let present = epochs.pop().unwrap_or_default();
    for legs in epochs {
        Following::begin(&session, network, parts, &legs)?.run(&mut control, Vec::new()).await?;
    }
    let uploads = vec![Uploading::begin(&session, network)?, Uploading::begin(&session, network)?];
    Following::begin(&session, network, parts, &present)?.run(&mut control, uploads).await
}

/// Joins all parts, and calls `with` for the whole.
fn with_whole<T>(parts: &RefCell<Vec<Part>>, with: impl FnOnce(&mut Part) -> T) -> T {
    let mut whole = Part::join(parts.take()).expect("there is a part at least");
    let result = with(&mut whole);
    parts.borrow_mut().push(whole);
    result
}

fn connect(session: &Session<'_, Process>, network: &Network, role: Role) -> Result<Line, LinkError> {
    let mut line = network.connect(session.node.own.files())?;
    line.send(&Message::Hello(session.node.hello(role, session.terms.welcome.session)));
    Ok(line)
}

async fn prepare(
    session: &Session<'_, Process>,
    network: &Network,
    parts: &RefCell<Vec<Part>>,
) -> Result<(), SessionError> {
    let own = &session.node.own;
    let partitions: Vec<PartitionId> = with_whole(parts, |whole| whole.partitions().collect());
    for partition in &partitions {
        with_whole(parts, |whole| load_own(session, whole, *partition));
    }
    let mut connection: Option<Line> = None;
    for partition in partitions {
        if !with_whole(parts, |whole| begin_anew(session, whole, partition)) {
            continue;
        }
        let line = match &mut connection {
            Some(line) => line,
            none => none.insert(connect(session, network, Role::Download)?),
        };
        line.send(&Message::Fetch(partition));
        let mut download = Download::begin(own, partition, line.message().await?)?;
        while !download.is_complete() {
            download.on(line.message().await?)?;
        }
        with_whole(parts, |whole| download.keep(own, session.subject(partition), whole))?;
    }
    Ok(())
}

/// A connection for uploads, and the snapshot that is being uploaded over it.
struct Uploading {
    line: Line,
    under_way: Option<(Upload<Process>, Ready)>,
}

impl Uploading {
    fn begin(session: &Session<'_, Process>, network: &Network) -> Result<Self, LinkError> {
        Ok(Self { line: connect(session, network, Role::Upload)?, under_way: None })
    }

    /// Begins to write and upload the outbox's next entry, if no upload is under way.
    fn look(&mut self, session: &Session<'_, Process>) {
        if self.under_way.is_some() {
            return;
        }
        let own = &session.node.own;
        let ready = match session.node.outbox.take(Duration::ZERO) {
            None => return,
            Some(Item::Ready(ready)) => ready,
            Some(Item::Capture(capture)) => match write(own, session.subject(capture.partition), &capture) {
                Ok(ready) => ready,
                Err(declined) => return self.line.send(&declined),
            },
        };
        match Upload::begin(own, ready) {
            Ok(Some((upload, offer))) => {
                self.line.send(&offer);
                self.under_way = Some((upload, ready));
            }
            Ok(None) => {}
            Err(declined) => self.line.send(&declined),
        }
    }

    fn heard(&mut self, session: &Session<'_, Process>) -> Result<(), LinkError> {
        let message = match self.line.take() {
            Ok(Received::Message(message)) => message,
            Ok(Received::Log(_)) => return Err(LinkError::OutOfTurn),
            Err(LinkError::Refused { reason, text }) => {
                let (_, ready) = self.under_way.take().ok_or(LinkError::OutOfTurn)?;
                if reason == Reason::Busy {
                    session.node.outbox.put_back(ready);
                    return Ok(());
                }
                refused(&session.node.own, ready, reason, &text);
                return Ok(());
            }
            Err(e) => return Err(e),
        };
        let (mut upload, ready) = self.under_way.take().ok_or(LinkError::OutOfTurn)?;
        if let Some(chunk) = upload.on(message)? {
            self.line.send(&chunk);
            drop(chunk);
            self.under_way = Some((upload, ready));
        }
        Ok(())
    }
}

/// The streams of one epoch, which are followed at once.
struct Following<'a> {
    session: &'a Session<'a, Process>,
    parts: &'a RefCell<Vec<Part>>,
    /// The connection of each stream, its follower, and the index of its part.
    streams: Vec<(Line, Follower, usize)>,
}

enum Event {
    Control,
    Stream(usize),
    Upload(usize),
    Tick,
}

impl<'a> Following<'a> {
    fn begin(
        session: &'a Session<'a, Process>,
        network: &Network,
        parts: &'a RefCell<Vec<Part>>,
        legs: &[Leg],
    ) -> Result<Self, SessionError> {
        let held = |leg: &Leg| leg.placement.partitions_of(leg.core);
        let cuts: Vec<u16> = legs.iter().flat_map(|leg| [held(leg).start, held(leg).end]).collect();
        let whole = Part::join(parts.take()).expect("there is a part at least");
        parts.replace(whole.cut(&cuts));
        let mut streams = Vec::new();
        for leg in legs {
            let part = parts.borrow().iter().position(|part| part.replica.owned() == held(leg));
            let Some(part) = part else { continue };
            let mut line = connect(session, network, Role::Stream)?;
            let follower = Follower::new(session.id(), leg);
            follower.hello().iter().for_each(|message| line.send(message));
            streams.push((line, follower, part));
        }
        Ok(Self { session, parts, streams })
    }

    async fn run(mut self, control: &mut Line, mut uploads: Vec<Uploading>) -> Result<(), SessionError> {
        let ended = self.follow(control, &mut uploads).await;
        for (_, follower, part) in &self.streams {
            follower.finish(self.session, &mut self.parts.borrow_mut()[*part], None);
        }
        for (_, ready) in uploads.into_iter().filter_map(|u| u.under_way) {
            self.session.node.outbox.put_back(ready);
        }
        ended
    }

    async fn follow(&mut self, control: &mut Line, uploads: &mut [Uploading]) -> Result<(), SessionError> {
        let clock = self.session.node.clock;
        let mut pinged = clock.now();
        let is_present = !uploads.is_empty();
        let mut open = self.streams.len();
        while is_present || open > 0 {
            match self.next(control, uploads).await? {
                Event::Control => {
                    let Received::Message(Message::Ping) = control.take()? else {
                        return Err(LinkError::OutOfTurn.into());
                    };
                }
                Event::Stream(n) => {
                    if self.stream(n)? == StreamState::Ended {
                        // Nothing more is sent or received on its connection.
                        open -= 1;
                    }
                }
                Event::Upload(n) => uploads[n].heard(self.session)?,
                Event::Tick => {
                    uploads.iter_mut().for_each(|upload| upload.look(self.session));
                    if clock.now() >= pinged + HEARTBEAT {
                        control.send(&Message::Ping);
                        pinged = clock.now();
                    }
                    if clock.now() >= control.heard_at + SILENCE {
                        return Err(LinkError::Silent.into());
                    }
                }
            }
        }
        Ok(())
    }

    /// Waits for the next event: something received on any connection, or a tick after 20 ms.
    async fn next(&mut self, control: &mut Line, uploads: &mut [Uploading]) -> Result<Event, LinkError> {
        let world = control.world().clone();
        let tick = world.now() + Duration::from_millis(20);
        std::future::poll_fn(|context| {
            if let Poll::Ready(ready) = control.poll(context) {
                return Poll::Ready(ready.map(|()| Event::Control));
            }
            for (n, (line, _, _)) in self.streams.iter_mut().enumerate() {
                if let Poll::Ready(ready) = line.poll(context) {
                    return Poll::Ready(ready.map(|()| Event::Stream(n)));
                }
            }
            for (n, upload) in uploads.iter_mut().enumerate() {
                if let Poll::Ready(ready) = upload.line.poll(context) {
                    return Poll::Ready(ready.map(|()| Event::Upload(n)));
                }
            }
            if world.now() >= tick {
                return Poll::Ready(Ok(Event::Tick));
            }
            world.wake_at(tick, context.waker());
            Poll::Pending
        })
        .await
    }

    fn stream(&mut self, n: usize) -> Result<StreamState, FollowError> {
        let (line, follower, part) = &mut self.streams[n];
        let mut answers = Vec::new();
        let part = &mut self.parts.borrow_mut()[*part];
        let received = line.take().map_err(FollowError::from);
        let step = received.and_then(|received| follower.on(received, part, &self.session.node.outbox, &mut answers));
        answers.iter().for_each(|answer| line.send(answer));
        if let Err(why) = &step {
            follower.finish(self.session, part, Some(why));
        }
        step
    }
}
