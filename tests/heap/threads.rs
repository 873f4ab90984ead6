//! Threads that end, that are many, and that begin in an unusual way.

use super::{change, read};
use std::cell::RefCell;
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::thread;
use termleash::leak::HeapStats;

static BEFORE_MAIN: AtomicI64 = AtomicI64::new(0);

/// Called by the dynamic linker.
#[used]
#[unsafe(link_section = ".init_array")]
static EARLY: extern "C" fn() = early;

extern "C" fn early() {
    let counted = change(|| drop(black_box(vec![1u8; 12_345])));
    BEFORE_MAIN.store(counted[3], Ordering::Relaxed);
}

pub(crate) fn before_main() {
    assert_eq!(BEFORE_MAIN.load(Ordering::Relaxed), 12_345);
}

/// What a thread costs for the first time stays: done once before it is measured.
fn settled(act: impl Fn()) -> [i64; 4] {
    act();
    change(act)
}

pub(crate) fn frees_of_another() {
    let alive = settled(|| {
        let (give, take) = channel::<Vec<u8>>();
        let makers: Vec<_> = (0..8)
            .map(|number| {
                let give = give.clone();
                thread::spawn(move || (0..500).for_each(|size| give.send(vec![number; size + 1]).unwrap()))
            })
            .collect();
        drop(give);
        let freed = thread::spawn(move || take.into_iter().map(|block| block.len()).sum::<usize>());
        makers.into_iter().for_each(|maker| maker.join().unwrap());
        assert_eq!(freed.join().unwrap(), 8 * 500 * 501 / 2);
    });
    assert_eq!(alive[..2], [0, 0]);
    assert!(alive[3] > 8 * 500 * 501 / 2);
}

pub(crate) fn slots_are_used_again() {
    let within = || HeapStats::read().unwrap().max_within;
    thread::spawn(|| drop(black_box(Box::new(1)))).join().unwrap();
    let before = within();
    let alive = settled(|| {
        for _ in 0..600 {
            thread::spawn(|| drop(black_box(vec![1u8; 100]))).join().unwrap();
        }
    });
    assert_eq!(alive[..2], [0, 0]);
    // A thread is joined before its keys' destructors are done on no system, but the next may start beside another one's end.
    assert!(within() <= before + 4 * (16 << 10), "{before} {}", within());
}

pub(crate) fn more_than_slots() {
    const THREADS: usize = 320;
    let act = || {
        let (all, done) = (Barrier::new(THREADS), Barrier::new(THREADS));
        thread::scope(|scope| {
            // The scope's own end waits for the closures, and not for the threads.
            let start = |_| {
                scope.spawn(|| {
                    // Each has a block before any of them ends.
                    let block = black_box(vec![1u8; 1000]);
                    all.wait();
                    for size in 1..200 {
                        drop(black_box(vec![1u8; size]));
                    }
                    done.wait();
                    drop(block);
                })
            };
            let threads: Vec<_> = (0..THREADS).map(start).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
    };
    let counted = settled(act);
    assert_eq!(counted[..2], [0, 0]);
    assert!(counted[3] >= THREADS as i64 * (1000 + 199 * 200 / 2), "{counted:?}");
    assert_eq!(HeapStats::read().unwrap().max_within, 256 * (16 << 10), "they had every slot");
}

/// Allocates again and frees what was made before, when its thread is nearly gone.
struct Late(RefCell<Vec<Vec<u8>>>);

static LATE_BYTES: AtomicU64 = AtomicU64::new(0);

impl Drop for Late {
    fn drop(&mut self) {
        self.0.borrow_mut().clear();
        let late = black_box(vec![1u8; 777]);
        LATE_BYTES.fetch_add(late.len() as u64, Ordering::Relaxed);
    }
}

thread_local! {
    static LATE: Late = const { Late(RefCell::new(Vec::new())) };
}

pub(crate) fn destructors() {
    let before = LATE_BYTES.load(Ordering::Relaxed);
    let counted = settled(|| {
        for _ in 0..50 {
            thread::spawn(|| LATE.with(|late| late.0.borrow_mut().push(vec![1; 100]))).join().unwrap();
        }
    });
    assert_eq!(counted[..2], [0, 0]);
    assert!(counted[3] >= 50 * 877);
    assert_eq!(LATE_BYTES.load(Ordering::Relaxed) - before, 2 * 50 * 777);
}

/// The standard library's registry of destructors grows by the thread's very first block, and may not be used meanwhile.
pub(crate) fn begins_with_a_destructor() {
    extern "C" fn begin(_argument: *mut libc::c_void) -> *mut libc::c_void {
        LATE.with(|late| late.0.borrow().len());
        std::ptr::null_mut()
    }

    let before = LATE_BYTES.load(Ordering::Relaxed);
    let counted = settled(|| {
        let mut id = std::mem::MaybeUninit::uninit();
        // SAFETY: it writes one id, and the function needs no argument; the thread is joined once.
        unsafe {
            let status = libc::pthread_create(id.as_mut_ptr(), std::ptr::null(), begin, std::ptr::null_mut());
            assert_eq!(status, 0);
            assert_eq!(libc::pthread_join(id.assume_init(), std::ptr::null_mut()), 0);
        }
    });
    assert_eq!(counted[..2], [0, 0]);
    assert_eq!(LATE_BYTES.load(Ordering::Relaxed) - before, 2 * 777);
    assert!(read()[0] > 0);
}

/// A key that is made later than ours is destroyed later: the thread has given its slot back by then.
pub(crate) fn after_its_slot() {
    extern "C" fn late(value: *mut libc::c_void) {
        // SAFETY: the value is the box that was put there.
        drop(unsafe { Box::from_raw(value.cast::<[u8; 300]>()) });
        LATE_BYTES.fetch_add(black_box(vec![1u8; 55]).len() as u64, Ordering::Relaxed);
    }

    let mut key = 0;
    // SAFETY: it writes one key.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(late)) }, 0);
    let before = LATE_BYTES.load(Ordering::Relaxed);
    let counted = settled(|| {
        let set = move || {
            let value = Box::into_raw(Box::new([1u8; 300]));
            // SAFETY: the key is there until all of these threads have ended.
            assert_eq!(unsafe { libc::pthread_setspecific(key, value.cast()) }, 0);
        };
        thread::spawn(set).join().unwrap();
    });
    // SAFETY: no thread has a value at it any more.
    assert_eq!(unsafe { libc::pthread_key_delete(key) }, 0);
    assert_eq!(counted[..2], [0, 0]);
    assert!(counted[3] >= 355, "{counted:?}");
    assert_eq!(LATE_BYTES.load(Ordering::Relaxed) - before, 2 * 55);
}

/// Made, made larger and freed by one thread each.
pub(crate) fn each_step_by_another() {
    let counted = settled(|| {
        for size in [1, 100, 5000, 300_000] {
            let mut block = thread::spawn(move || black_box(vec![1u8; size])).join().unwrap();
            block = thread::spawn(move || {
                block.reserve_exact(3 * size);
                block.shrink_to(2 * size);
                block
            })
            .join()
            .unwrap();
            thread::spawn(move || drop(black_box(block))).join().unwrap();
        }
    });
    assert_eq!(counted[..2], [0, 0]);
    assert!(counted[3] >= (1 + 4 + 2) * 305_101, "{counted:?}");
}

/// What has the heap's locks at that moment is not there in the copy. The copy counts on from what it has.
pub(crate) fn forked() {
    #[cfg(feature = "sites")]
    let sampling = termleash::leak::HeapSampling::start(1).unwrap();
    let is_over = AtomicU64::new(0);
    let statuses = thread::scope(|scope| {
        let work = || {
            while is_over.load(Ordering::Relaxed) == 0 {
                drop(black_box(vec![1u8; 100]));
            }
        };
        let workers = [(); 3].map(|()| scope.spawn(work));
        let copy = |_| {
            // SAFETY: the copy allocates, which the C library permits after its own fork, and leaves without destructors; if it hangs, its
            // alarm ends it.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: as above.
                unsafe {
                    libc::alarm(60);
                    let counted = change(|| (1..100).for_each(|size| drop(black_box(vec![1u8; size]))));
                    libc::_exit(i32::from(counted != [0, 0, 99, 99 * 50]));
                }
            }
            let mut status = 0;
            // SAFETY: a child of ours that nobody else waits for.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            status
        };
        let statuses: Vec<i32> = (0..60).map(copy).take_while(|status| *status == 0).collect();
        is_over.store(1, Ordering::Relaxed);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        statuses
    });
    assert_eq!(statuses.len(), 60, "a copy was ended by its alarm, or has counted something else");
    #[cfg(feature = "sites")]
    drop(sampling);
}
