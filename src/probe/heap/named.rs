//! Sites with the names of their functions: what a person reads.

use crate::probe::heap::sites::{Site, Sum};
use crate::probe::heap::stats::HeapAmount;
use crate::sys::stack::Symbol;
use bytesize::ByteSize;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// So many functions of a stack are shown; all are in the value and in the file.
const SHOWN: usize = 16;

/// Where the heap came from, from the start of a [`HeapSampling`](crate::leak::HeapSampling) on.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapProfile {
    /// All sites, those that hold the most first.
    pub sites: Vec<HeapSite>,
    /// One block in so many bytes was looked at; every block if that is 1.
    pub every: u64,
    /// How long it was looked.
    pub took: Duration,
    /// When the most was alive.
    pub peak_at: Duration,
}

/// A stack of functions, and what it has made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapSite {
    /// What it has made in all.
    pub total: HeapAmount,
    /// What is alive of that.
    pub curr: HeapAmount,
    /// The most that was alive at once, by bytes.
    pub max: HeapAmount,
    /// What was alive when the most of the whole program was.
    pub at_peak: HeapAmount,
    /// How long its blocks have lived, added up.
    pub lifetimes: Duration,
    /// Who called whom, the innermost first, without the allocator's own.
    pub stack: Vec<HeapFrame>,
}

/// A function of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub struct HeapFrame {
    /// The return address in it; inlined functions share one.
    pub address: u64,
    /// Its name; `None` if nothing says it.
    pub function: Option<String>,
    /// `file:line:column`, as far as they are known.
    pub place: Option<String>,
}

impl HeapProfile {
    /// The sites that hold the most bytes now.
    pub fn top(&self, count: usize) -> impl Iterator<Item = &HeapSite> {
        self.sites.iter().take(count)
    }

    /// What has come since an earlier profile of the same sampling: `total` and `curr` are what each site has more than then, and those that
    /// have grown most come first.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let before: HashMap<&[HeapFrame], &HeapSite> = earlier.sites.iter().map(|site| (&*site.stack, site)).collect();
        let mut later = self.clone();
        for site in &mut later.sites {
            if let Some(before) = before.get(&*site.stack) {
                site.total.take(before.total);
                site.curr.take(before.curr);
            }
        }
        later.sites.retain(|site| site.total.blocks > 0);
        later.sort();
        later
    }

    fn sort(&mut self) {
        self.sites.sort_by_key(|site| std::cmp::Reverse((site.curr.bytes, site.total.bytes)));
    }
}

/// Asks for names, and adds up sites that are one without the allocator's own functions.
pub(crate) fn named(
    sites: Vec<Site>,
    every: u64,
    took: u64,
    peak_at: u64,
    symbols: impl Fn(usize) -> Vec<Symbol>,
) -> HeapProfile {
    let mut known: HashMap<usize, Vec<HeapFrame>> = HashMap::new();
    let mut by_stack: BTreeMap<Vec<HeapFrame>, HeapSite> = BTreeMap::new();
    for site in sites {
        let mut stack = Vec::new();
        for address in &site.stack {
            let frames = known.entry(*address).or_insert_with(|| frames(*address, symbols(*address)));
            stack.extend_from_slice(frames);
        }
        stack.truncate(stack.iter().position(is_outermost).map_or(stack.len(), |at| at + 1));
        let stack = stack.split_off(own_frames(&stack));
        let sum = by_stack.entry(stack.clone()).or_insert_with(|| HeapSite::of(stack));
        sum.add(&site);
    }
    let sites = by_stack.into_values().collect();
    let (took, peak_at) = (Duration::from_micros(took), Duration::from_micros(peak_at));
    let mut profile = HeapProfile { sites, every, took, peak_at };
    profile.sort();
    profile
}

fn frames(address: usize, symbols: Vec<Symbol>) -> Vec<HeapFrame> {
    let address = address as u64;
    if symbols.is_empty() {
        return vec![HeapFrame { address, function: None, place: None }];
    }
    symbols.into_iter().map(|symbol| HeapFrame { address, function: Some(symbol.name), place: symbol.place }).collect()
}

/// How many of the innermost frames are the allocator's and ours: up to the last one that the compiler calls for an allocation.
fn own_frames(stack: &[HeapFrame]) -> usize {
    const DOORS: [&str; 4] = ["__rust_alloc", "__rust_alloc_zeroed", "__rust_realloc", "CountingAlloc"];
    const WITHIN: usize = 32;
    let is_door = |frame: &HeapFrame| {
        let name = frame.function.as_deref().unwrap_or_default();
        DOORS.iter().any(|door| name.ends_with(door)) || name.contains("CountingAlloc")
    };
    stack.iter().take(WITHIN).rposition(is_door).map_or(0, |last| last + 1)
}

/// Below it are the runtime's frames, the same for all.
fn is_outermost(frame: &HeapFrame) -> bool {
    frame.function.as_deref().is_some_and(|name| name.contains("__rust_begin_short_backtrace"))
}

impl HeapSite {
    fn of(stack: Vec<HeapFrame>) -> Self {
        let none = HeapAmount::default();
        Self { total: none, curr: none, max: none, at_peak: none, lifetimes: Duration::ZERO, stack }
    }

    fn add(&mut self, site: &Site) {
        self.total.add(site.made);
        self.curr.add(site.live);
        // Of two that were not at their most at the same time it is too much.
        self.max.add(site.most);
        self.at_peak.add(site.at_peak);
        self.lifetimes += Duration::from_micros(site.lifetimes as u64);
    }
}

impl HeapAmount {
    fn add(&mut self, sum: Sum) {
        self.blocks += sum.blocks.round() as u64;
        self.bytes += sum.bytes.round() as u64;
    }

    fn take(&mut self, before: Self) {
        self.blocks = self.blocks.saturating_sub(before.blocks);
        self.bytes = self.bytes.saturating_sub(before.bytes);
    }
}

impl fmt::Display for HeapAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blocks = if self.blocks == 1 { "block" } else { "blocks" };
        write!(f, "{} in {} {blocks}", ByteSize(self.bytes).display().iec(), self.blocks)
    }
}

/// What it holds, and the innermost functions of its stack, a line for each: of the standard library's only the one that the program called
/// for it. All are in the profile's file.
impl fmt::Display for HeapSite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} alive, of {} in all, made at", self.curr, self.total)?;
        let called = self.stack.iter().position(|frame| !frame.is_of_the_library()).unwrap_or(0).saturating_sub(1);
        let own = self.stack.iter().skip(called + 1).filter(|frame| !frame.is_of_the_library());
        let shown: Vec<&HeapFrame> = self.stack.get(called).into_iter().chain(own).collect();
        shown.iter().take(SHOWN).try_for_each(|frame| write!(f, "\n    {frame}"))?;
        match shown.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "\n    … and {more} more"),
        }
    }
}

impl HeapFrame {
    /// By its place in the compiler's build, or by its crate's name where there is none.
    fn is_of_the_library(&self) -> bool {
        const CRATES: [&str; 4] = ["alloc::", "core::", "std::", "__rust"];
        match (&self.place, &self.function) {
            (Some(place), _) => place.starts_with("/rustc/"),
            (None, Some(function)) => {
                let function = function.trim_start_matches('<');
                CRATES.iter().any(|name| function.starts_with(name))
            }
            (None, None) => false,
        }
    }
}

/// As dhat writes it, but for the address, and the end of a name that is nothing but types.
impl fmt::Display for HeapFrame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 100;
        let function = self.function.as_deref().map(|name| match name.char_indices().nth(LONGEST) {
            Some((at, _)) => format!("{}…", &name[..at]),
            None => name.to_owned(),
        });
        match (function, &self.place) {
            (Some(function), Some(place)) => write!(f, "{function} ({place})"),
            (Some(function), None) => f.write_str(&function),
            (None, _) => write!(f, "{:#x}", self.address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::heap::sites::Sites;

    fn symbols(address: usize) -> Vec<Symbol> {
        let one = |name: &str| Symbol { name: name.into(), place: Some(format!("lib.rs:{address}:1")) };
        match address {
            1 => vec![one("termleash::sys::stack::capture")],
            2 | 3 => vec![one("<termleash::CountingAlloc as GlobalAlloc>::alloc"), one("__rustc::__rust_alloc")],
            10 => vec![one("alloc::alloc::alloc"), one("my::buffer")],
            11 => vec![one("my::main")],
            _ => vec![],
        }
    }

    #[test]
    fn the_allocators_own_functions_are_left_out_and_what_is_one_then_is_added_up() {
        let mut sites = Sites::default();
        sites.made(100, 40, 1.0, &[1, 2, 10, 11], 0);
        sites.made(200, 2, 1.0, &[1, 3, 10, 11], 0);
        sites.made(300, 1000, 1.0, &[1, 2, 12], 5);
        let (sites, peak_at) = sites.read(9);
        let profile = named(sites, 1, 9, peak_at, symbols);
        let texts: Vec<String> = profile.top(2).map(ToString::to_string).collect();
        assert_eq!(texts[0], "1000 B in 1 block alive, of 1000 B in 1 block in all, made at\n    0xc");
        let second = "42 B in 2 blocks alive, of 42 B in 2 blocks in all, made at\n    alloc::alloc::alloc (lib.rs:10:1)\n    \
                      my::buffer (lib.rs:10:1)\n    my::main (lib.rs:11:1)";
        assert_eq!((texts[1].as_str(), profile.sites.len()), (second, 2));
        assert_eq!(profile.peak_at, Duration::from_micros(5));
    }

    #[test]
    fn since_an_earlier_profile_what_has_grown_most_comes_first() {
        let profile = |sites: &Sites| named(sites.read(9).0, 1, 9, 0, symbols);
        let mut sites = Sites::default();
        sites.made(100, 5000, 1.0, &[10], 0);
        sites.made(200, 40, 1.0, &[11], 0);
        let earlier = profile(&sites);
        sites.made(300, 2, 1.0, &[11], 5);
        sites.made(400, 7, 1.0, &[12], 5);
        sites.freed(400, 6);
        let since = profile(&sites).since(&earlier);
        let seen: Vec<_> =
            since.sites.iter().map(|site| (site.stack[0].address, site.total.bytes, site.curr.bytes)).collect();
        assert_eq!(seen, [(11, 2, 2), (12, 7, 0)]);
    }

    #[test]
    fn of_the_library_only_what_the_program_called_is_shown_and_a_long_name_is_cut() {
        let frame = |name: &str, place: Option<&str>| HeapFrame {
            address: 1,
            function: Some(name.into()),
            place: place.map(str::to_owned),
        };
        let stack = vec![
            frame("with_capacity_in<u8>", Some("/rustc/5980/library/alloc/src/vec/mod.rs:965:20")),
            frame("<alloc::vec::Vec<T> as X>::from_elem", None),
            frame("my::fetch", Some("src/lib.rs:7:1")),
            frame("core::ops::function::FnOnce::call_once", None),
            frame(&"m".repeat(200), Some("src/lib.rs:9:1")),
        ];
        let text = HeapSite::of(stack).to_string();
        let shown: Vec<&str> = text.lines().skip(1).map(str::trim).collect();
        let cut = format!("{}… (src/lib.rs:9:1)", "m".repeat(100));
        assert_eq!(shown, ["<alloc::vec::Vec<T> as X>::from_elem", "my::fetch (src/lib.rs:7:1)", cut.as_str()]);
        // Nothing else is known of it.
        let text = HeapSite::of(vec![frame("std::main", None), frame("std::start", None)]).to_string();
        assert!(text.ends_with("made at\n    std::main"), "{text}");
    }

    #[test]
    fn the_runtimes_frames_and_those_beyond_the_first_are_not_shown() {
        let name = |address: usize| match address {
            30 => "std::sys::backtrace::__rust_begin_short_backtrace".to_owned(),
            _ => format!("f{address}"),
        };
        let mut sites = Sites::default();
        sites.made(1, 8, 1.0, &(1..40).collect::<Vec<_>>(), 0);
        let profile = named(sites.read(0).0, 1, 0, 0, |address| vec![Symbol { name: name(address), place: None }]);
        let text = profile.sites[0].to_string();
        assert!(text.ends_with("\n    f16\n    … and 13 more"), "{text}");
    }
}
