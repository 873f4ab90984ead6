//! Several futures at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Waits for all of them together; the outputs come in the order of the futures.
pub(crate) async fn join_all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut waiting: Vec<Option<Pin<Box<F>>>> = futures.into_iter().map(|future| Some(Box::pin(future))).collect();
    let mut outputs: Vec<Option<F::Output>> = waiting.iter().map(|_| None).collect();
    poll_fn(|context| {
        let mut is_over = true;
        for (slot, output) in waiting.iter_mut().zip(&mut outputs) {
            let Some(future) = slot else { continue };
            match future.as_mut().poll(context) {
                Poll::Ready(done) => {
                    *output = Some(done);
                    *slot = None;
                }
                Poll::Pending => is_over = false,
            }
        }
        if is_over { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    outputs.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::park_on;
    use crate::watched::Watched;

    #[test]
    fn outputs_come_in_order_whoever_ends_first() {
        let turn = Watched::new(2);
        let futures = [0, 1, 2].map(|number| {
            let turn = &turn;
            async move {
                turn.wait(|now| (*now == number).then_some(())).await;
                turn.update(|now| *now -= 1);
                number
            }
        });
        assert_eq!(park_on(join_all(futures)), [0, 1, 2]);
    }
}
