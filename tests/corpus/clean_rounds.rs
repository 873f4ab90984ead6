//! What goes up and down, or up and no further.

use super::scene::{brief, connection, helper, rounds};
use super::{Body, Case};
use Body::Rounds;
use std::collections::HashMap;
use std::fs::File;
use std::sync::OnceLock;
use std::thread;

pub(super) const CASES: &[Case] = &[
    Case::clean("nothing_grows", "T18: the measurement allocates", Rounds(|| rounds(|_| {}))),
    Case::clean(
        "a_static_opens_a_file_in_the_first_round",
        "T3, T23: and keeps it",
        Rounds(|| {
            rounds(|_| {
                static FILE: OnceLock<File> = OnceLock::new();
                FILE.get_or_init(|| File::open("/dev/null").unwrap());
            })
        }),
    ),
    Case::clean(
        "a_static_opens_a_file_in_a_later_round",
        "T3: once and never again",
        Rounds(|| {
            let mut file = None;
            rounds(move |round| {
                if round == 6 {
                    file = Some(File::open("/dev/null").unwrap());
                }
                assert!(round < 6 || file.is_some());
            })
        }),
    ),
    Case::clean(
        "a_pool_of_connections_fills",
        "up to five, and no further",
        Rounds(|| {
            let mut pool = Vec::new();
            rounds(move |_| {
                if pool.len() < 5 {
                    pool.push(connection());
                }
            })
        }),
    ),
    Case::clean(
        "a_file_is_open_every_other_round",
        "T5: it breathes",
        Rounds(|| {
            let mut file = None;
            rounds(move |_| match file.take() {
                Some(open) => drop(open),
                None => file = Some(File::open("/dev/null").unwrap()),
            })
        }),
    ),
    Case::clean(
        "a_runtime_in_each_round",
        "T3: made and dropped on a thread that is joined",
        Rounds(|| {
            rounds(|_| {
                let body = || super::scene::runtime().block_on(tokio::task::yield_now());
                thread::spawn(body).join().unwrap();
            })
        }),
    ),
    Case::clean(
        "a_child_in_each_round_is_awaited",
        "T12",
        Rounds(|| rounds(|_| assert!(brief().status().unwrap().success()))),
    ),
    Case::clean(
        "a_session_in_each_round_is_closed",
        "the work of a terminal server",
        Rounds(|| {
            let helper = helper();
            Box::new(move |_| {
                let created = helper.create_tracked_session("cat");
                Box::pin(async { drop(created.await.unwrap().close().await.unwrap()) })
            })
        }),
    ),
    Case::clean(
        "a_cache_fills_and_stops",
        "after eight rounds",
        Rounds(|| {
            let mut cache = HashMap::new();
            rounds(move |round| drop(cache.insert(round % 8, vec![1_u8; 32 << 10])))
        }),
    ),
    Case::clean(
        "a_cache_fills_more_and_more_slowly",
        "T17: as the caches of malloc do, for each thread and size: a tenth less in each round",
        Rounds(|| {
            let mut cache = Vec::with_capacity(100);
            let mut bytes = 16 << 10;
            rounds(move |_| {
                cache.push(vec![1_u8; bytes]);
                bytes -= bytes / 10;
            })
        }),
    ),
    Case::clean(
        "a_buffer_grows_to_its_capacity",
        "a Vec that is cleared and not shrunk",
        Rounds(|| {
            let mut buffer = Vec::new();
            rounds(move |round| {
                buffer.clear();
                buffer.resize(4096 * (1 + round % 6), 1_u8);
            })
        }),
    ),
    Case::clean(
        "memory_in_the_form_of_a_saw",
        "freed every fifth round",
        Rounds(|| {
            let mut teeth = Vec::new();
            rounds(move |round| {
                if round % 5 == 0 {
                    teeth.clear();
                }
                teeth.push(vec![1_u8; 64 << 10]);
            })
        }),
    ),
    Case::clean(
        "threads_free_what_others_allocate",
        "T17: arenas keep it",
        Rounds(|| {
            rounds(|_| {
                let given: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 8 << 10]).collect();
                let worker = thread::spawn(move || given.iter().map(Vec::len).sum::<usize>());
                assert_eq!(worker.join().unwrap(), 64 * (8 << 10));
            })
        }),
    ),
    Case::clean(
        "a_channel_is_read_to_its_end",
        "a session that lives",
        Rounds(|| {
            let (sender, mut receiver) = tokio::sync::mpsc::unbounded_channel();
            rounds(move |_| {
                sender.send(vec![b'x'; 4096]).unwrap();
                assert!(receiver.try_recv().is_ok());
            })
        }),
    ),
    Case::clean(
        "memory_comes_once_and_late",
        "T41: a table that is built in round 14",
        Rounds(|| {
            let mut table = Vec::new();
            rounds(move |round| {
                if round == 14 {
                    table = vec![1_u8; 256 << 10];
                }
                assert!(round < 14 || !table.is_empty());
            })
        }),
    ),
    Case::clean(
        "memory_goes_up_and_down",
        "T41: noise of 64 KiB",
        Rounds(|| {
            let mut held = Vec::new();
            rounds(move |round| drop(std::mem::replace(&mut held, vec![1_u8; (round * 7919 + 13) % 17 * (4 << 10)])))
        }),
    ),
    Case::clean(
        "much_memory_is_given_back",
        "T17, T42: a peak of 8 MiB in each round",
        Rounds(|| rounds(|_| drop(vec![1_u8; 8 << 20]))),
    ),
];
