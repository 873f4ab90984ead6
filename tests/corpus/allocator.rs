//! The global allocator of a child: by which of the three sources its memory is known.
//!
//! | argument | allocator | what a hunt knows memory by |
//! |---|---|---|
//! | none | the system's | `mallinfo2`, where the C library has it |
//! | `--allocator=counted` | `CountingAlloc` | that, to the byte |
//! | `--allocator=paged` | one that takes pages from the kernel by itself, as jemalloc and mimalloc do | private memory |

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait, and is chosen before the first block is made")]

use rustix::fs::{Mode, OFlags, open};
use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicUsize, Ordering};
use termleash::leak::CountingAlloc;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Malloc,
    Counted,
    Private,
}

impl Source {
    pub(crate) const ALL: [Self; 3] = [Self::Counted, Self::Malloc, Self::Private];

    pub(super) fn argument(self) -> &'static str {
        match self {
            Self::Malloc => "--allocator=system",
            Self::Counted => "--allocator=counted",
            Self::Private => "--allocator=paged",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malloc => "malloc",
            Self::Counted => "counted",
            Self::Private => "private",
        })
    }
}

#[global_allocator]
static HEAP: Chosen = Chosen;

struct Chosen;

static SOURCE: AtomicU8 = AtomicU8::new(Source::Malloc as u8);
static COUNTED: CountingAlloc = CountingAlloc::new();
static PAGED: Paged = Paged { is_locked: AtomicBool::new(false), classes: [const { Class::new() }; CLASSES] };

/// Called by the dynamic linker, before whatever else allocates.
#[used]
#[unsafe(link_section = ".init_array.00101")]
static EARLY: extern "C" fn() = choose;

extern "C" fn choose() {
    let mut text = [0_u8; 4096];
    let Ok(file) = open("/proc/self/cmdline", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) else { return };
    let length = rustix::io::read(&file, &mut text).unwrap_or(0);
    let has = |source: &Source| text[..length].split(|byte| *byte == 0).any(|one| one == source.argument().as_bytes());
    if let Some(source) = Source::ALL.iter().find(|source| has(source)) {
        SOURCE.store(*source as u8, Ordering::Relaxed);
    }
}

fn is(source: Source) -> bool {
    SOURCE.load(Ordering::Relaxed) == source as u8
}

// SAFETY: each call goes to one allocator, the same one from the first block on.
unsafe impl GlobalAlloc for Chosen {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the same contract.
        unsafe {
            match () {
                () if is(Source::Counted) => COUNTED.alloc(layout),
                () if is(Source::Private) => PAGED.alloc(layout),
                () => System.alloc(layout),
            }
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the same contract.
        unsafe {
            match () {
                () if is(Source::Counted) => COUNTED.dealloc(block, layout),
                () if is(Source::Private) => PAGED.dealloc(block, layout),
                () => System.dealloc(block, layout),
            }
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller keeps to the same contract.
        unsafe {
            match () {
                () if is(Source::Counted) => COUNTED.realloc(block, layout, size),
                () if is(Source::Private) => PAGED.realloc(block, layout, size),
                () => System.realloc(block, layout, size),
            }
        }
    }
}

/// Powers of two, of 16 B to 128 KiB from pieces of 1 MiB, which are used again and never given back; what is larger is mapped by itself.
struct Paged {
    is_locked: AtomicBool,
    classes: [Class; CLASSES],
}

struct Class {
    /// The first block that was given back; its first word is the next one.
    free: AtomicPtr<u8>,
    /// What was never handed out of the last piece: its pages are not touched yet.
    fresh: AtomicPtr<u8>,
    left: AtomicUsize,
}

impl Class {
    const fn new() -> Self {
        Self { free: AtomicPtr::new(null_mut()), fresh: AtomicPtr::new(null_mut()), left: AtomicUsize::new(0) }
    }

    fn take(&self, size: usize) -> *mut u8 {
        let block = self.free.load(Ordering::Relaxed);
        if !block.is_null() {
            // SAFETY: a free block of ours.
            self.free.store(unsafe { block.cast::<*mut u8>().read() }, Ordering::Relaxed);
            return block;
        }
        if self.left.load(Ordering::Relaxed) == 0 {
            let piece = map(PIECE);
            if piece.is_null() {
                return piece;
            }
            self.fresh.store(piece, Ordering::Relaxed);
            self.left.store(PIECE, Ordering::Relaxed);
        }
        self.left.fetch_sub(size, Ordering::Relaxed);
        let block = self.fresh.load(Ordering::Relaxed);
        self.fresh.store(block.wrapping_add(size), Ordering::Relaxed);
        block
    }
}

const SMALLEST: usize = 16;
const CLASSES: usize = 14;
const PIECE: usize = 1 << 20;

fn class(layout: Layout) -> usize {
    let size = layout.size().max(layout.align()).max(SMALLEST).next_power_of_two();
    (size / SMALLEST).ilog2() as usize
}

fn map(bytes: usize) -> *mut u8 {
    let (access, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: new memory at no address in particular.
    let mapped = unsafe { libc::mmap(null_mut(), bytes, access, flags, -1, 0) };
    if mapped == libc::MAP_FAILED { null_mut() } else { mapped.cast() }
}

impl Paged {
    fn with_class<R>(&self, class: usize, act: impl FnOnce(&Class) -> R) -> R {
        while self.is_locked.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        let result = act(&self.classes[class]);
        self.is_locked.store(false, Ordering::Release);
        result
    }
}

// SAFETY: a block is of its class, which is as large and as aligned as the layout, and in one list or one hand.
unsafe impl GlobalAlloc for Paged {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match class(layout) {
            CLASSES.. => map(layout.size()),
            class => self.with_class(class, |of| of.take(SMALLEST << class)),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let class = class(layout);
        if class >= CLASSES {
            // SAFETY: mapped by itself with this size.
            unsafe { libc::munmap(block.cast(), layout.size()) };
            return;
        }
        self.with_class(class, |of| {
            // SAFETY: the caller gives it back, and it has room for a pointer.
            unsafe { block.cast::<*mut u8>().write(of.free.load(Ordering::Relaxed)) };
            of.free.store(block, Ordering::Relaxed);
        });
    }
}
