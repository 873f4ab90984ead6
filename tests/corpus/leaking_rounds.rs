//! What grows with the rounds.

use super::Case;
use super::scene::{Sleeper, brief, connection, helper, rounds, until_dead};
use std::collections::HashMap;
use std::fs::File;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use termleash::leak::Gauge;

pub(super) const CASES: &[Case] = &[
    Case::grows("a_file_in_each_round", "T5: one more in a map", Gauge::Descriptors, || {
        let mut open = Vec::new();
        rounds(move |_| open.push(File::open("/dev/null").unwrap()))
    }),
    Case::grows("a_socket_in_each_round", "connections of clients that have gone", Gauge::Descriptors, || {
        let mut served = Vec::new();
        rounds(move |_| served.push(connection().1))
    }),
    Case::grows("a_descriptor_beside_many_that_close", "T5: one of ten is not closed", Gauge::Descriptors, || {
        let mut open = Vec::new();
        rounds(move |_| {
            let mut ten: Vec<File> = (0..10).map(|_| File::open("/dev/null").unwrap()).collect();
            open.extend(ten.pop());
        })
    }),
    Case::grows("a_thread_in_each_round", "T15: a timer for each session", Gauge::Threads, || {
        let mut senders = Vec::new();
        rounds(move |_| {
            let (sender, receiver) = channel::<()>();
            thread::spawn(move || receiver.recv());
            senders.push(sender);
        })
    }),
    Case::grows("a_zombie_in_each_round", "T12: a child for each session, never reaped", Gauge::Processes, || {
        rounds(|_| until_dead(brief().spawn().unwrap().id()))
    }),
    Case::grows("a_child_in_each_round", "a helper program for each session", Gauge::Processes, || {
        let mut children = Vec::new();
        rounds(move |_| children.push(Sleeper::quiet()))
    }),
    Case::grows("a_session_in_each_round", "guards that are kept", Gauge::Sessions, || {
        // Its drop would end them, and say so in a panic.
        let helper = std::mem::ManuallyDrop::new(helper());
        Box::new(move |_| {
            let created = helper.create_tracked_session("cat");
            Box::pin(async { drop(created.await.unwrap().keep()) })
        })
    }),
    Case::grows("a_buffer_for_a_dead_session", "a channel that nobody reads any more", Gauge::Heap, || {
        let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
        rounds(move |_| {
            assert!(!receiver.is_closed());
            sender.send(vec![b'x'; 4096]).unwrap();
        })
    }),
    Case::grows("a_cycle_in_each_round", "session and manager hold each other", Gauge::Heap, || {
        struct Node {
            _screen: Vec<u8>,
            other: Mutex<Option<Arc<Node>>>,
        }
        rounds(|_| {
            let node = || Arc::new(Node { _screen: vec![b' '; 80 * 24], other: Mutex::default() });
            let (one, other) = (node(), node());
            *one.other.lock().unwrap() = Some(Arc::clone(&other));
            *other.other.lock().unwrap() = Some(one);
        })
    }),
    Case::grows("scrollback_that_is_never_cut", "T17: beside work that takes and gives back much", Gauge::Heap, || {
        let mut scrollback: HashMap<usize, Vec<u8>> = HashMap::new();
        rounds(move |round| {
            scrollback.insert(round, vec![1; 32 << 10]);
            drop(vec![1_u8; 1 << 20]);
        })
    }),
    Case::grows("a_leak_under_noise", "T41: 8 KiB a round, beside up to 4 KiB that come and go", Gauge::Heap, || {
        let (mut kept, mut held) = (Vec::new(), Vec::new());
        rounds(move |round| {
            kept.push(vec![1_u8; 8 << 10]);
            drop(std::mem::replace(&mut held, vec![1_u8; (round * 7919 % 5) << 10]));
        })
    }),
    Case::grows("a_leak_just_worth_a_word", "T18: 2 KiB a round, past the gate of 1 KiB", Gauge::Heap, || {
        let mut kept = Vec::with_capacity(100);
        rounds(move |_| kept.push(vec![1_u8; 2 << 10]))
    }),
    Case::grows(
        "a_thread_frees_less_than_it_was_given",
        "T17: allocated here, freed there, some not",
        Gauge::Heap,
        || {
            let kept = Arc::new(Mutex::new(Vec::new()));
            rounds(move |_| {
                let given: Vec<Vec<u8>> = (0..8).map(|_| vec![1; 16 << 10]).collect();
                let kept = Arc::clone(&kept);
                let worker = thread::spawn(move || kept.lock().unwrap().extend(given.into_iter().take(1)));
                worker.join().unwrap();
            })
        },
    ),
];
