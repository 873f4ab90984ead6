//! Where the heap comes from, and a hunt that counts by it.

use super::{change, read};
use std::hint::black_box;
use termleash::leak::{Gauge, HeapSampling, HuntReport, LeakHunt, Level, MemorySource, Verdict};
#[cfg(feature = "sites")]
use {std::path::Path, termleash::leak::HeapFile};

/// Far less than malloc's own noise, and than a page.
///
/// Once more where it is inconclusive: the process has a thread that may give back at some moment what an earlier test had it make, and
/// a hunt that counts to the byte sees that, too.
fn leaks_80_bytes(level: Level) -> termleash::Result<HuntReport> {
    for _ in 0..5 {
        let report = hunt_80_bytes(level)?;
        if report.verdict != Verdict::Inconclusive {
            return Ok(report);
        }
    }
    panic!("something disturbs each hunt")
}

fn hunt_80_bytes(level: Level) -> termleash::Result<HuntReport> {
    let mut kept = Vec::with_capacity(100);
    let hunt = LeakHunt::new().exclusive().rounds(18..=30).gate(64).level(level).named("a leak of 80 bytes");
    termleash::block_on(hunt.run(async |_| {
        drop(black_box(vec![1u8; 100_000]));
        kept.push(the_leaking_function());
        Ok(())
    }))
}

#[inline(never)]
fn the_leaking_function() -> Vec<u8> {
    black_box(vec![1u8; 80])
}

pub(crate) fn hunt() {
    let report = leaks_80_bytes(Level::Fail).unwrap();
    let heap = report.series.iter().find(|series| series.gauge == Gauge::Heap).unwrap();
    assert_eq!((heap.verdict, report.memory), (Verdict::Leaked, Some(MemorySource::Counted)), "{report}");
    assert!((heap.per_round - 80.0).abs() < 0.5, "{report}");
    assert!(report.to_string().contains("  memory: the heap as `CountingAlloc` counts it, to the byte\n"), "{report}");
    let how = if cfg!(feature = "sites") { "not sampled: write `let" } else { "not sampled: add the feature `sites`" };
    assert!(report.to_string().contains(&format!("\nheap profile: none, call sites are {how}")), "{report}");
    let passing = leaks_80_bytes(Level::Warn).unwrap();
    assert_eq!((passing.verdict, passing.top_sites), (Verdict::Leaked, None), "nobody has looked, and nothing fails");
}

#[cfg(not(feature = "sites"))]
pub(crate) fn named() {
    let error = HeapSampling::start(1).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("`sites`"), "{error}");
    assert!(read()[0] > 0 && change(|| ()) == [0; 4]);
}

#[cfg(feature = "sites")]
pub(crate) fn named() {
    the_top_has_its_name_and_the_file_opens();
    looking_changes_no_number();
    nobody_waits_for_itself();
    a_hunt_says_who_leaks();
    what_held_the_heap_before_is_not_what_has_grown();
    estimates_are_near();
}

#[cfg(feature = "sites")]
#[inline(never)]
fn the_biggest_function() -> Vec<Vec<u8>> {
    (0..50).map(|_| black_box(vec![1u8; 10_000])).collect()
}

#[cfg(feature = "sites")]
fn the_top_has_its_name_and_the_file_opens() {
    let sampling = HeapSampling::start(1).unwrap();
    assert!(HeapSampling::start(1).unwrap_err().is_invalid_input(), "one at a time");
    drop(the_biggest_function());
    let held = the_biggest_function();
    let moved = std::thread::spawn(move || drop(held[..10].to_vec())).join();
    let kept = the_biggest_function();
    let profile = sampling.profile();
    moved.unwrap();

    let top = profile.top(1).next().unwrap();
    let in_it = |site: &termleash::leak::HeapSite| {
        site.stack.iter().any(|frame| frame.function.as_ref().is_some_and(|name| name.contains("the_biggest_function")))
    };
    assert!(in_it(top), "{top}");
    assert_eq!((top.curr.blocks, top.curr.bytes), (50, 500_000), "{top}");
    let first = top.stack[0].function.as_deref().unwrap();
    assert!(!first.contains("__rust_alloc") && !first.contains("CountingAlloc"), "{top}");
    assert!(top.to_string().contains("sites.rs:"), "{top}");
    let all: u64 = profile.sites.iter().filter(|site| in_it(site)).map(|site| site.total.bytes).sum();
    assert!(all >= 3 * 500_000, "{all}");

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("heap.json");
    profile.write_dhat(&path).unwrap();
    opens_in_the_viewer(&std::fs::read_to_string(&path).unwrap());
    let error = profile.write_dhat(&directory.path().join("none/heap.json")).unwrap_err().to_string();
    assert!(error.contains("none/heap.json"), "{error}");
    drop(kept);
}

/// What `dh_view.js` of Valgrind 3.25 asks of a file, and throws an error for.
#[cfg(feature = "sites")]
fn opens_in_the_viewer(text: &str) {
    let file: serde_json::Value = serde_json::from_str(text).unwrap();
    let has = |of: &serde_json::Value, fields: &[&str]| {
        let missing: Vec<_> = fields.iter().filter(|field| of.get(field).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?} of {of}");
    };
    let always = ["dhatFileVersion", "mode", "verb", "bklt", "bkacc", "tu", "Mtu", "cmd", "pid", "te", "pps", "ftbl"];
    has(&file, &always);
    assert_eq!((&file["dhatFileVersion"], &file["bklt"], &file["bkacc"]), (&2.into(), &true.into(), &false.into()));
    has(&file, &["tg", "tuth"]);
    assert!(file["tg"].as_u64() <= file["te"].as_u64());
    let table = file["ftbl"].as_array().unwrap();
    assert_eq!(table[0], "[root]");
    let mut stacks = std::collections::BTreeSet::new();
    for point in file["pps"].as_array().unwrap() {
        has(point, &["tb", "tbk", "tl", "mb", "mbk", "gb", "gbk", "eb", "ebk", "fs"]);
        let stack: Vec<u64> = point["fs"].as_array().unwrap().iter().map(|frame| frame.as_u64().unwrap()).collect();
        assert!(stack.iter().all(|frame| (1..table.len() as u64).contains(frame)), "{point}");
        assert!(stacks.insert(stack), "a repeated location: {point}");
        assert!(
            point["eb"].as_u64() <= point["tb"].as_u64() && point["mb"].as_u64() <= point["tb"].as_u64(),
            "{point}"
        );
    }
    assert!(stacks.len() > 1);
}

#[cfg(feature = "sites")]
fn looking_changes_no_number() {
    let work = || drop(the_biggest_function());
    work();
    let without = change(work);
    let sampling = HeapSampling::start(1).unwrap();
    assert_eq!(change(work), without);
    let alive = change(|| drop(sampling.profile()));
    assert_eq!(alive[..2], [0, 0], "what a profile takes it gives back");
    assert_eq!(change(|| drop(sampling)), [0; 4]);
    assert_eq!(change(work), without);
}

/// The standard library prints a stack under a lock, and allocates.
#[cfg(feature = "sites")]
fn nobody_waits_for_itself() {
    let sampling = HeapSampling::start(1).unwrap();
    let text = std::backtrace::Backtrace::force_capture().to_string();
    assert!(text.contains("nobody_waits_for_itself"), "{text}");
    std::thread::scope(|scope| {
        let print = |_| scope.spawn(|| drop(std::backtrace::Backtrace::force_capture().to_string()));
        let printing: Vec<_> = (0..4).map(print).collect();
        for _ in 0..3 {
            drop(sampling.profile());
        }
        printing.into_iter().for_each(|thread| thread.join().unwrap());
    });
    let seen = sampling.profile();
    assert!(seen.sites.iter().any(|site| site.to_string().contains("nobody_waits_for_itself")));
}

#[cfg(feature = "sites")]
fn a_hunt_says_who_leaks() {
    let sampling = HeapSampling::start(1).unwrap();
    let report = leaks_80_bytes(Level::Fail).unwrap();
    let again = leaks_80_bytes(Level::Fail).unwrap();
    let passing = leaks_80_bytes(Level::Warn).unwrap();
    let clean = termleash::block_on(LeakHunt::new().exclusive().rounds(18..=18).run(async |_| Ok(()))).unwrap();
    drop(sampling);
    let text = report.to_string();
    assert!(text.contains("where the heap has grown most:\n  2.3 KiB in 30 blocks"), "{text}");
    assert_eq!(HuntReport::from_json(&report.to_json()).unwrap(), report);

    let [first, second] = [&report, &again].map(written);
    assert!(
        text.contains(&format!("\nheap profile: {first}, open it with dhat's viewer (dh_view.html of valgrind)\n"))
    );
    assert_ne!(first, second, "each failure has its own");
    for path in [first, second] {
        // What cargo tells the compiler of an integration test.
        assert_eq!(Path::new(path).parent(), Some(Path::new(env!("CARGO_TARGET_TMPDIR"))), "{path}");
        assert!(path.contains("/termleash-heap-") && path.ends_with(".json"), "{path}");
        let text = std::fs::read_to_string(path).unwrap();
        opens_in_the_viewer(&text);
        assert!(text.contains("the_leaking_function"), "{text}");
        std::fs::remove_file(path).unwrap();
    }
    let top = passing.top_sites.as_ref().unwrap();
    assert!(top.file.is_none() && top.sites[0].to_string().contains("the_leaking_function"), "{passing}");
    assert_eq!(clean.top_sites, None);
}

#[cfg(feature = "sites")]
fn written(report: &HuntReport) -> &str {
    match report.top_sites.as_ref().and_then(|top| top.file.as_ref()) {
        Some(HeapFile::Written(path)) => path,
        other => panic!("{other:?}: {report}"),
    }
}

/// The biggest site of all is not among them, nor are the functions of the allocator.
#[cfg(feature = "sites")]
fn what_held_the_heap_before_is_not_what_has_grown() {
    let directory = tempfile::tempdir().unwrap();
    let chosen = directory.path().join("profiles");
    let sampling = HeapSampling::start(1).unwrap();
    let held = the_biggest_function();
    // SAFETY: nothing in this process reads the environment beside this thread.
    unsafe { std::env::set_var("TERMLEASH_PROFILES", &chosen) };
    let report = leaks_80_bytes(Level::Fail).unwrap();
    // SAFETY: as above.
    unsafe { std::env::set_var("TERMLEASH_PROFILES", "/dev/null/none") };
    let refused = leaks_80_bytes(Level::Fail).unwrap();
    // SAFETY: as above.
    unsafe { std::env::remove_var("TERMLEASH_PROFILES") };
    drop(sampling);
    let top = report.top_sites.as_ref().unwrap();
    assert!(top.is_growth && (1..=5).contains(&top.sites.len()), "{report}");
    assert!(
        top.sites[0].to_string().contains("the_leaking_function") && top.sites[0].curr.bytes == 30 * 80,
        "{report}"
    );
    let text = report.to_string();
    assert!(!text.contains("the_biggest_function"), "{text}");
    assert!(!text.contains("CountingAlloc as") && !text.contains("__rust_alloc"), "{text}");
    let file = std::fs::read_to_string(written(&report)).unwrap();
    assert_eq!(Path::new(written(&report)).parent(), Some(&*chosen));
    assert!(file.contains("the_biggest_function") && file.contains("the_leaking_function"), "all of it is in the file");
    drop(held);
    let text = refused.to_string();
    assert!(text.contains("the_leaking_function") && text.contains("\nheap profile: none, failed to write"), "{text}");
    assert!(text.contains("/dev/null/none") && text.contains("TERMLEASH_PROFILES"), "{text}");
}

#[cfg(feature = "sites")]
fn estimates_are_near() {
    let sampling = HeapSampling::start(4096).unwrap();
    let kept: Vec<_> = (0..20_000).map(|_| black_box(vec![1u8; 200])).collect();
    let profile = sampling.profile();
    let top = profile.top(1).next().unwrap();
    assert!((top.curr.bytes as f64 / 4_000_000.0 - 1.0).abs() < 0.2, "{top}");
    drop(kept);
    let left = sampling.profile();
    assert!(left.sites.iter().map(|site| site.curr.bytes).sum::<u64>() < 1_000_000);
    assert!(read()[0] > 0);
}
