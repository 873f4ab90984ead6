//! What uses most memory, as lines of a report.

use crate::process::handle::reader;
use crate::process::summary::ProcessSummary;
use crate::report::text::bytes;
use std::cmp::Reverse;

/// A line for each of so many at most, the largest first, and one for the rest of them; each begins with its newline.
pub(crate) fn largest<T>(mut parts: Vec<(u64, T)>, most: usize, name: impl Fn(&T) -> String) -> String {
    parts.sort_by_key(|(memory, _)| Reverse(*memory));
    let line = |memory: u64, what: &str| format!("\n    {:>10}  {what}", bytes(memory));
    let mut text: String = parts.iter().take(most).map(|(memory, part)| line(*memory, &name(part))).collect();
    if let Some(more) = parts.len().checked_sub(most).filter(|more| *more > 0) {
        text += &line(parts.iter().skip(most).map(|(memory, _)| memory).sum(), &format!("{more} more"));
    }
    text
}

/// What a process is, by its number.
pub(crate) fn named(pid: &u32) -> String {
    let shown = reader().ok().and_then(|mut reader| ProcessSummary::of(&mut reader, *pid).ok());
    shown.map_or_else(|| format!("pid {pid}, which has ended"), |summary| summary.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_the_rest_is_counted() {
        let parts = vec![(1 << 10, "a"), (3 << 20, "b"), (2 << 20, "c"), (1 << 10, "d")];
        let all = |most| largest(parts.clone(), most, |name| (*name).to_owned());
        assert_eq!(all(2), "\n       3.0 MiB  b\n       2.0 MiB  c\n       2.0 KiB  2 more");
        assert_eq!(all(4).lines().count(), 5);
        assert!(!all(4).contains("more"));
    }
}
