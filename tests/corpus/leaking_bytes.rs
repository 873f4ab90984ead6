//! What takes so many bytes more in each round, in the ways in which real programs do.

#![expect(unsafe_code, reason = "memory of the C library and of the kernel")]

use super::scene::rounds;
use super::{Case, Expected};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, LinkedList, VecDeque};
use std::ffi::CString;
use std::future::pending;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;
use termleash::leak::Gauge;

fn block(bytes: usize) -> Vec<u8> {
    black_box(vec![1; bytes])
}

pub(super) const CASES: &[Case] = &[
    Case::bytes("a_static_list_is_never_cut", "what every test appends to", |bytes| {
        static LIST: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
        rounds(move |_| LIST.lock().unwrap().push(block(bytes)))
    }),
    Case::bytes("a_map_of_sessions_never_forgets", "the incident: entries of sessions that have ended", |bytes| {
        let mut sessions = HashMap::new();
        rounds(move |round| drop(sessions.insert(format!("session-{round}"), block(bytes))))
    }),
    Case::bytes("output_of_each_session_is_kept", "the incident: buffers by session, in lines", |bytes| {
        let mut buffers: BTreeMap<usize, VecDeque<String>> = BTreeMap::new();
        rounds(move |round| {
            let lines = (0..bytes.div_ceil(80)).map(|line| format!("{line:<80}"));
            buffers.entry(round).or_default().extend(lines);
        })
    }),
    Case::bytes("a_cycle_of_references", "parent and child hold each other", |bytes| {
        struct Node {
            _screen: Vec<u8>,
            parent: RefCell<Option<Rc<Node>>>,
        }
        rounds(move |_| {
            let node = Rc::new(Node { _screen: block(bytes), parent: RefCell::default() });
            *node.parent.borrow_mut() = Some(Rc::clone(&node));
        })
    }),
    Case::bytes("a_box_is_forgotten", "mem::forget of a guard", |bytes| {
        rounds(move |_| std::mem::forget(block(bytes).into_boxed_slice()))
    }),
    Case::bytes("a_pointer_never_comes_back", "into_raw for a C library, without from_raw", |bytes| {
        rounds(move |_| {
            let _taken = black_box(CString::new(block(bytes)).unwrap().into_raw());
        })
    }),
    Case::bytes("a_reference_count_is_too_high", "a clone of an Arc is forgotten", |bytes| {
        rounds(move |_| {
            let shared = Arc::new(block(bytes));
            std::mem::forget(Arc::clone(&shared));
        })
    }),
    Case::bytes("a_thread_local_grows", "a cache of a thread that lives as long as the program", |bytes| {
        thread_local! {
            static CACHE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
        }
        rounds(move |_| CACHE.with_borrow_mut(|cache| cache.push(block(bytes))))
    }),
    Case::bytes("a_backlog_of_messages", "the receiver is there, and reads nothing", |bytes| {
        let (sender, receiver) = mpsc::channel();
        rounds(move |_| {
            let _is_there = &receiver;
            (0..bytes.div_ceil(256)).for_each(|_| sender.send(block(256)).unwrap());
        })
    }),
    Case::bytes("a_table_of_names_only_grows", "interned strings that hold a number", |bytes| {
        let mut names: HashSet<&'static str> = HashSet::new();
        rounds(move |round| {
            names.extend((0..bytes.div_ceil(64)).map(|at| &*format!("{round:>32}{at:>32}").leak()));
        })
    }),
    Case::bytes("a_timer_for_each_session", "it holds the session for an hour after its end", |bytes| {
        rounds(move |_| {
            let session = block(bytes);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs(3600)).await;
                drop(session);
            });
        })
    }),
    Case::bytes("a_future_that_nobody_wakes", "it waits for an event of a session that has gone", |bytes| {
        let mut waiting: Vec<Pin<Box<dyn Future<Output = ()>>>> = Vec::new();
        rounds(move |_| {
            let held = block(bytes);
            waiting.push(Box::pin(async move {
                pending::<()>().await;
                drop(held);
            }));
        })
    }),
    Case::bytes("a_listener_is_never_taken_off", "a closure that holds its session", |bytes| {
        let mut listeners: Vec<Box<dyn Fn() -> usize>> = Vec::new();
        rounds(move |_| {
            let session = block(bytes);
            listeners.push(Box::new(move || session.len()));
            assert!(listeners.iter().all(|listener| listener() == bytes));
        })
    }),
    Case::bytes("a_block_grows_by_realloc", "exactly by what is needed", |bytes| {
        let mut log: Vec<u8> = Vec::new();
        rounds(move |_| {
            log.reserve_exact(bytes);
            log.extend_from_slice(&block(bytes));
        })
    }),
    Case::bytes("many_small_nodes", "a list of what went wrong", |bytes| {
        let mut errors = LinkedList::new();
        rounds(move |round| errors.extend((0..bytes.div_ceil(64)).map(|at| [round, at, 0, 0, 0, 0])))
    }),
    Case::bytes("an_arena_is_never_reset", "in pieces of 16 KiB: it grows in steps", |bytes| {
        const PIECE: usize = 16 << 10;
        let (mut pieces, mut left) = (Vec::new(), 0);
        rounds(move |_| {
            for _ in 0..bytes.div_ceil(256) {
                if left < 256 {
                    pieces.push(block(PIECE));
                    left = PIECE;
                }
                left -= 256;
            }
        })
    }),
    Case::bytes("what_threads_have_made_is_kept", "the results of workers that have ended", |bytes| {
        let results = Arc::new(Mutex::new(Vec::new()));
        rounds(move |_| {
            let results = Arc::clone(&results);
            thread::spawn(move || results.lock().unwrap().push(block(bytes))).join().unwrap();
        })
    }),
    Case::bytes("a_cache_whose_keys_never_come_again", "the key has the time in it", |bytes| {
        type Cache = BTreeMap<(usize, u64), Arc<[u8]>>;
        static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
        static NOW: AtomicU64 = AtomicU64::new(0);
        rounds(move |round| {
            let cache = CACHE.get_or_init(Mutex::default);
            let key = (round, NOW.fetch_add(1, Ordering::Relaxed));
            let value = cache.lock().unwrap().entry(key).or_insert_with(|| block(bytes).into()).clone();
            assert_eq!(value.len(), bytes);
        })
    }),
    Case::bytes("a_leak_beside_threads_that_work", "T17: four that allocate and free", |bytes| {
        let mut kept = Vec::new();
        rounds(move |round| {
            let work = move || (0..50).for_each(|at| drop(block(1 + (round * 977 + at * 131) % 9000)));
            let workers: Vec<_> = (0..4).map(|_| thread::spawn(work)).collect();
            kept.push(block(bytes));
            workers.into_iter().for_each(|worker| worker.join().unwrap());
        })
    }),
    // Rounds 16 to 31 are one block, and 32 to 63 another: no number of rounds shows more than two steps behind the dropped third.
    Case::undecided("one_buffer_doubles", "output that is appended to for ever", |bytes| {
        let mut output = Vec::new();
        rounds(move |_| output.extend_from_slice(&block(bytes)))
    }),
    // Neither is of Rust's heap: where that is known exactly, resident memory that grows beside it is told, and does not fail.
    Case::bytes("memory_of_a_c_library", "malloc(3) without free(3)", |_| {
        rounds(|_| {
            // SAFETY: so many bytes are made, and written.
            unsafe { libc::malloc(64 << 10).cast::<u8>().write_bytes(1, 64 << 10) };
        })
    })
    .counted_as(Expected::Told(Gauge::Resident)),
    Case::told("mapped_memory", "mmap(2) without munmap(2)", |_| {
        rounds(|_| {
            let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            // SAFETY: new memory at no address in particular, which is written as far as it goes.
            unsafe {
                let mapped = libc::mmap(std::ptr::null_mut(), 64 << 10, access, flags, -1, 0);
                assert_ne!(mapped, libc::MAP_FAILED);
                mapped.cast::<u8>().write_bytes(1, 64 << 10);
            }
        })
    }),
];
