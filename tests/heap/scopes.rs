//! What belongs to a scope.

use super::read;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Barrier;
use std::thread;
use termleash::leak::HeapScope;

fn made(scope: &HeapScope) -> (u64, u64) {
    let stats = scope.stats();
    assert_eq!(stats.uncounted, 0);
    (stats.made.blocks, stats.made.bytes)
}

pub(crate) fn inside() {
    let (one, other) = (HeapScope::new(), HeapScope::new());
    let before = read();
    let block = one.run(|| {
        let block = vec![1u8; 500];
        other.run(|| drop(black_box(vec![1u8; 30])));
        // Also while it is inside.
        assert_eq!(made(&one), (1, 500));
        block
    });
    assert_eq!((made(&one), made(&other)), ((1, 500), (1, 30)));
    assert_eq!(other.stats().freed.bytes, 30);
    drop(block);
    assert_eq!(one.stats().freed.bytes, 0, "it was freed outside");
    assert!(read()[3] - before[3] >= 530, "in the whole it is counted, too");

    // Two threads at once, and a third one outside.
    let (scope, barrier) = (HeapScope::new(), Barrier::new(3));
    thread::scope(|threads| {
        let start = |is_inside| {
            let (scope, barrier) = (&scope, &barrier);
            threads.spawn(move || {
                let work = || {
                    barrier.wait();
                    for _ in 0..1000 {
                        drop(black_box(vec![1u8; 10]));
                    }
                };
                if is_inside { scope.run(work) } else { work() }
            })
        };
        let started = [true, true, false].map(start);
        started.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(made(&scope), (2000, 20_000));
    assert_eq!(scope.stats().freed, scope.stats().made);
}

pub(crate) fn panics() {
    let scope = HeapScope::new();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let ended = catch_unwind(AssertUnwindSafe(|| {
        scope.run(|| {
            drop(black_box(vec![1u8; 100]));
            std::panic::resume_unwind(Box::new(()));
        })
    }));
    std::panic::set_hook(hook);
    assert!(ended.is_err());
    let after = made(&scope);
    assert!(after.1 >= 100);
    drop(black_box(vec![1u8; 100]));
    assert_eq!(made(&scope), after, "it is left");
}

pub(crate) fn futures() {
    let scope = HeapScope::new();
    let yielding = async |bytes: usize| {
        for _ in 0..10 {
            drop(black_box(vec![1u8; bytes]));
            let mut is_second = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut is_second, true) {
                    std::task::Poll::Ready(())
                } else {
                    std::task::Poll::Pending
                }
            })
            .await;
        }
    };
    termleash::block_on(async {
        let mut inside = std::pin::pin!(scope.wrap(yielding(100)));
        let mut outside = std::pin::pin!(yielding(9999));
        let (mut inside_done, mut outside_done) = (false, false);
        std::future::poll_fn(|context| {
            inside_done = inside_done || inside.as_mut().poll(context).is_ready();
            outside_done = outside_done || outside.as_mut().poll(context).is_ready();
            if inside_done && outside_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
        })
        .await;
    });
    assert_eq!(made(&scope), (10, 1000));
}
