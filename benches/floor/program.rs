//! The floor under a process of this very program: `posix_spawn`, and its end before `main`, or at once in it.

#![expect(
    unsafe_code,
    reason = "posix_spawn takes lists of pointers, and a section's entry has a name that libc knows"
)]

use std::ffi::{CStr, CString, c_char};
use std::ptr;

/// The argument by which [`is_to_end`] knows a program that is to do nothing.
const END: &CStr = c"floor:end";
/// The variable that stops a program before its `main`.
const STOP: &CStr = c"TERMLEASH_BENCH_STOP";

/// Before the crate's own entry, so that nothing of the crate's runs.
#[used]
#[unsafe(link_section = ".init_array.00098")]
static AT_START: extern "C" fn() = {
    extern "C" fn stop() {
        // SAFETY: libc's environment is ready, there is one thread, and nothing has begun that would have to end.
        unsafe {
            if !libc::getenv(STOP.as_ptr()).is_null() {
                libc::_exit(0);
            }
        }
    }
    stop
};

/// True in a program that was started to end at once.
pub(crate) fn is_to_end() -> bool {
    std::env::args_os().nth(1).is_some_and(|argument| argument.as_encoded_bytes() == END.to_bytes())
}

/// This program, to be started again.
pub(crate) struct Program {
    arguments: Vec<*mut c_char>,
    environment: Vec<*mut c_char>,
    _strings: Vec<CString>,
}

impl Program {
    /// One that ends before its `main`.
    pub(crate) fn stopped() -> Self {
        let stop = CString::new([STOP.to_bytes(), b"=1"].concat()).expect("no NUL in it");
        Self::new(vec![c"floor".to_owned()], Some(stop))
    }

    /// One that comes to its `main` and ends there.
    pub(crate) fn ended() -> Self {
        Self::new(vec![c"floor".to_owned(), END.to_owned()], None)
    }

    fn new(arguments: Vec<CString>, more: Option<CString>) -> Self {
        let block = std::fs::read("/proc/self/environ").expect("read our environment");
        let entries = block.split(|byte| *byte == 0).filter(|entry| !entry.is_empty());
        let environment =
            entries.map(|entry| CString::new(entry).expect("no NUL in it")).chain(more).collect::<Vec<_>>();
        let pointers = |strings: &[CString]| -> Vec<*mut c_char> {
            strings.iter().map(|string| string.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect()
        };
        let (of_arguments, of_environment) = (pointers(&arguments), pointers(&environment));
        let strings = arguments.into_iter().chain(environment).collect();
        Self { arguments: of_arguments, environment: of_environment, _strings: strings }
    }

    /// Starts it; the exec is over when this returns.
    pub(crate) fn start(&self) -> Started {
        let mut pid = 0;
        // SAFETY: the path, the arguments and the environment end in NUL, both lists in a null pointer.
        let code = unsafe {
            libc::posix_spawn(
                &mut pid,
                c"/proc/self/exe".as_ptr(),
                ptr::null(),
                ptr::null(),
                self.arguments.as_ptr(),
                self.environment.as_ptr(),
            )
        };
        assert_eq!(code, 0, "{}", std::io::Error::from_raw_os_error(code));
        Started(pid)
    }
}

/// A child, to be waited for.
#[must_use = "it stays a zombie until it is waited for"]
pub(crate) struct Started(libc::pid_t);

impl Started {
    pub(crate) fn wait(self) {
        let mut status = 0;
        // SAFETY: the pointer is to a number of ours.
        let reaped = unsafe { libc::waitpid(self.0, &mut status, 0) };
        assert_eq!((reaped, status), (self.0, 0), "it ends with status 0");
    }
}

/// Nanoseconds of a clock that all processes share.
pub(crate) fn clock() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a structure of ours.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}
