//! Waits for several writes at once.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::Poll;

/// Waits until every one of `writes` is done, also after one has failed: the memory that they read must not be touched before.
///
/// # Errors
/// The first error.
pub(super) async fn join_all<F>(mut writes: impl ExactSizeIterator<Item = F>) -> io::Result<()>
where
    F: Future<Output = io::Result<()>>,
{
    if writes.len() <= 1 {
        return match writes.next() {
            Some(write) => write.await,
            None => Ok(()),
        };
    }
    let mut running: Vec<Pin<Box<F>>> = writes.map(Box::pin).collect();
    let mut outcome = Ok(());
    poll_fn(|context| {
        running.retain_mut(|write| match write.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(error)) => {
                if outcome.is_ok() {
                    outcome = Err(error);
                }
                false
            }
        });
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outcome
}
