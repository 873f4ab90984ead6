//! Memory that comes and goes, or comes and stays as it is.

#![expect(unsafe_code, reason = "memory of the C library and of the kernel")]

use super::scene::rounds;
use super::{Body, Case};
use Body::Rounds;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hint::black_box;
use std::rc::{Rc, Weak};
use std::sync::{Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

fn block(bytes: usize) -> Vec<u8> {
    black_box(vec![1; bytes])
}

pub(super) const CASES: &[Case] = &[
    Case::clean(
        "a_cache_with_a_bound",
        "eight entries of different sizes, the oldest goes",
        Rounds(|| {
            let mut cache = VecDeque::new();
            rounds(move |round| {
                cache.push_back(block(1000 + round * 7919 % 9000));
                if cache.len() > 8 {
                    cache.pop_front();
                }
            })
        }),
    ),
    Case::clean(
        "a_pool_of_buffers",
        "each is used again",
        Rounds(|| {
            let mut pool: Vec<Vec<u8>> = Vec::new();
            rounds(move |round| {
                let mut taken: Vec<Vec<u8>> = (0..4).map(|_| pool.pop().unwrap_or_default()).collect();
                taken.iter_mut().for_each(|buffer| buffer.resize(4096 + round % 3 * 1024, 1));
                pool.extend(taken);
            })
        }),
    ),
    Case::clean(
        "an_arena_that_is_reset",
        "it keeps its pieces",
        Rounds(|| {
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            rounds(move |round| {
                pieces.iter_mut().for_each(Vec::clear);
                for at in 0..2 + round % 5 {
                    if pieces.len() == at {
                        pieces.push(Vec::with_capacity(16 << 10));
                    }
                    pieces[at].resize(16 << 10, 1);
                }
            })
        }),
    ),
    Case::clean(
        "a_buffer_doubles_and_is_sent",
        "amortised growth, up to 64 KiB and anew",
        Rounds(|| {
            let mut buffer = Vec::new();
            rounds(move |_| {
                buffer.extend_from_slice(&block(5000));
                if buffer.len() > 64 << 10 {
                    drop(std::mem::take(&mut buffer));
                }
            })
        }),
    ),
    Case::clean(
        "statics_at_their_first_use",
        "T3: four tables, in the rounds 0, 4, 8 and 12",
        Rounds(|| {
            static TABLES: [OnceLock<Vec<u8>>; 4] = [const { OnceLock::new() }; 4];
            rounds(|round| {
                let used = TABLES.iter().take(1 + round / 4);
                assert!(used.map(|table| table.get_or_init(|| block(20 << 10))).all(|table| table[0] == 1));
            })
        }),
    ),
    Case::clean(
        "the_last_lines_of_a_log",
        "a ring of 64 lines, none as long as another",
        Rounds(|| {
            let mut lines = VecDeque::with_capacity(64);
            rounds(move |round| {
                for at in 0..40 {
                    if lines.len() == 64 {
                        lines.pop_front();
                    }
                    lines.push_back("x".repeat(20 + (round * 31 + at * 17) % 200));
                }
            })
        }),
    ),
    Case::clean(
        "a_list_of_free_blocks",
        "sixteen at most",
        Rounds(|| {
            let mut free: Vec<Box<[u8]>> = Vec::new();
            rounds(move |round| {
                let used = (0..1 + round * 5 % 20).map(|_| free.pop().unwrap_or_else(|| block(2048).into()));
                let used: Vec<Box<[u8]>> = used.collect();
                free.extend(used);
                free.truncate(16);
            })
        }),
    ),
    Case::clean(
        "a_burst_in_each_round",
        "a thousand blocks, freed in another order",
        Rounds(|| {
            rounds(|round| {
                let mut blocks: Vec<Vec<u8>> = (0..1000).map(|at| block(1 + (round + at * 7919) % 900)).collect();
                while !blocks.is_empty() {
                    let at = (blocks.len() * 31 + round) % blocks.len();
                    drop(blocks.swap_remove(at));
                }
            })
        }),
    ),
    Case::clean(
        "sizes_take_turns",
        "64 KiB, 16 KiB, 40 KiB",
        Rounds(|| {
            let mut held = Vec::new();
            rounds(move |round| {
                drop(std::mem::replace(&mut held, block([64, 16, 40][round % 3] << 10)));
            })
        }),
    ),
    Case::clean(
        "threads_that_allocate_and_free",
        "T17: eight at once, each in an arena",
        Rounds(|| {
            rounds(|round| {
                let work = move |of: usize| (0..100).for_each(|at| drop(block(1 + (round * of + at * 131) % 20_000)));
                let workers: Vec<_> = (0..8).map(|of| thread::spawn(move || work(of))).collect();
                workers.into_iter().for_each(|worker| worker.join().unwrap());
            })
        }),
    ),
    Case::clean(
        "a_child_knows_its_parent_weakly",
        "a cycle that is none",
        Rounds(|| {
            struct Node {
                _screen: Vec<u8>,
                parent: RefCell<Weak<Node>>,
            }
            rounds(|_| {
                let node = || Rc::new(Node { _screen: block(8 << 10), parent: RefCell::default() });
                let (parent, child) = (node(), node());
                *child.parent.borrow_mut() = Rc::downgrade(&parent);
                assert!(child.parent.borrow().upgrade().is_some());
            })
        }),
    ),
    Case::clean(
        "a_backlog_is_worked_off",
        "up to fifty messages, read in the round",
        Rounds(|| {
            let (sender, receiver) = mpsc::channel();
            rounds(move |round| {
                (0..20 + round % 30).for_each(|_| sender.send(block(512)).unwrap());
                assert_eq!(receiver.try_iter().count(), 20 + round % 30);
            })
        }),
    ),
    Case::clean(
        "timers_that_are_cancelled",
        "aborted, and waited for",
        Rounds(|| {
            Box::new(|_| {
                Box::pin(async {
                    let held = block(16 << 10);
                    let timer = tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(3600)).await;
                        drop(held);
                    });
                    timer.abort();
                    assert!(timer.await.is_err());
                })
            })
        }),
    ),
    Case::clean(
        "listeners_that_are_taken_off",
        "by their number",
        Rounds(|| {
            let mut listeners: BTreeMap<usize, Box<dyn Fn() -> usize>> = BTreeMap::new();
            rounds(move |round| {
                let session = block(8 << 10);
                listeners.insert(round, Box::new(move || session.len()));
                assert_eq!(listeners.remove(&round).map(|listener| listener()), Some(8 << 10));
            })
        }),
    ),
    Case::clean(
        "sessions_come_and_go",
        "a map that keeps its room",
        Rounds(|| {
            let mut sessions = HashMap::new();
            rounds(move |round| {
                (0..10).for_each(|at| drop(sessions.insert((round, at), block(3000))));
                sessions.retain(|key: &(usize, usize), _| key.0 == round && key.1 < 3);
            })
        }),
    ),
    Case::clean(
        "names_that_come_again",
        "interned: sixteen, in the first rounds",
        Rounds(|| {
            let mut names: HashSet<&'static str> = HashSet::new();
            rounds(move |round| {
                let name = format!("{:>2000}", round % 16);
                if !names.contains(&*name) {
                    names.insert(name.leak());
                }
            })
        }),
    ),
    Case::clean(
        "a_screen_is_drawn_behind",
        "two buffers that take turns",
        Rounds(|| {
            let mut screens = [Vec::new(), Vec::new()];
            rounds(move |round| {
                screens[round % 2] = block(80 * (24 + round % 3));
                assert!(round == 0 || !screens[(round + 1) % 2].is_empty());
            })
        }),
    ),
    Case::clean(
        "a_buffer_that_is_cut_to_size",
        "shrink_to_fit after each peak",
        Rounds(|| {
            let mut buffer: Vec<u8> = Vec::new();
            rounds(move |round| {
                buffer.resize(256 << 10, 1);
                buffer.truncate(1000 + round % 5 * 100);
                buffer.shrink_to_fit();
            })
        }),
    ),
    Case::clean(
        "a_static_that_is_emptied",
        "what every test appends to, and the last one clears",
        Rounds(|| {
            static LIST: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());
            rounds(|round| {
                let mut list = LIST.lock().unwrap();
                list.push(block(12 << 10));
                if round % 4 == 3 {
                    list.clear();
                }
            })
        }),
    ),
    Case::clean(
        "a_c_library_frees",
        "malloc(3) and free(3), of other sizes each time",
        Rounds(|| {
            rounds(|round| {
                let bytes = 1000 + round * 7919 % 60_000;
                // SAFETY: so many bytes are made, written, and freed once.
                unsafe {
                    let made = libc::malloc(bytes);
                    made.cast::<u8>().write_bytes(1, bytes);
                    libc::free(made);
                }
            })
        }),
    ),
    Case::clean(
        "mapped_memory_is_unmapped",
        "1 MiB in each round",
        Rounds(|| {
            rounds(|_| {
                let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
                // SAFETY: new memory at no address in particular, written as far as it goes, and unmapped once.
                unsafe {
                    let mapped = libc::mmap(std::ptr::null_mut(), 1 << 20, access, flags, -1, 0);
                    assert_ne!(mapped, libc::MAP_FAILED);
                    mapped.cast::<u8>().write_bytes(1, 1 << 20);
                    libc::munmap(mapped, 1 << 20);
                }
            })
        }),
    ),
];
