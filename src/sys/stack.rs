//! The stack of the calling thread, as addresses, and what stands at an address.
//!
//! Not by the standard library's backtraces: taking one needs a lock that the same thread holds while it prints another, and it
//! allocates then. Here a stack is taken without a lock.

#![cfg_attr(feature = "sites", expect(unsafe_code, reason = "a stack is taken without a lock"))]

/// A function at an address; one address has several where functions were inlined, the innermost first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Symbol {
    pub(crate) name: String,
    /// `file:line:column`, as far as they are known.
    pub(crate) place: Option<String>,
}

/// True if stacks can be taken and named: with the feature `sites`.
pub(crate) const CAN_NAME: bool = cfg!(feature = "sites");

/// Fills the buffer with return addresses, the innermost first, and says how many there are.
#[cfg(feature = "sites")]
pub(crate) fn capture(addresses: &mut [usize]) -> usize {
    let mut count = 0;
    // SAFETY: what the lock would keep apart are calls of Windows' dbghelp, which x86_64 and aarch64 need for names only; names are
    // asked for under the lock, in `symbols`.
    unsafe {
        backtrace::trace_unsynchronized(|frame| {
            if let Some(address) = addresses.get_mut(count) {
                *address = frame.ip().addr();
                count += 1;
            }
            count < addresses.len()
        });
    }
    count
}

/// What stands at a return address.
#[cfg(feature = "sites")]
pub(crate) fn symbols(address: usize) -> Vec<Symbol> {
    let mut symbols = Vec::new();
    backtrace::resolve(std::ptr::without_provenance_mut(address), |symbol| {
        // Without the hash that the compiler appends.
        let Some(name) = symbol.name().map(|name| format!("{name:#}")) else { return };
        let place = symbol.filename().map(|file| {
            let numbers = [symbol.lineno(), symbol.colno()].into_iter().flatten();
            numbers.fold(file.display().to_string(), |place, number| format!("{place}:{number}"))
        });
        symbols.push(Symbol { name, place });
    });
    symbols
}

#[cfg(not(feature = "sites"))]
pub(crate) fn capture(_addresses: &mut [usize]) -> usize {
    0
}

#[cfg(not(feature = "sites"))]
pub(crate) fn symbols(_address: usize) -> Vec<Symbol> {
    Vec::new()
}
