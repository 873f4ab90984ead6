//! Who is let in, by memory, doors and clocks of a test's own.

use super::*;
use crate::backoff::soon;
use crate::limits::Limits;
use std::cell::Cell;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

const GIB: u64 = 1 << 30;

fn free(bytes: u64) -> Result<FreeMemory, String> {
    Ok(FreeMemory { machine: bytes, groups: Vec::new() })
}

fn wait(floor: u64, limit: Duration) -> Wait<'static> {
    Wait { name: "a_test", floor, take: floor, limit, begin: Instant::now(), said: None }
}

/// So many were let in a moment ago, whenever it is asked.
struct Young(usize);

impl Door for Young {
    fn knock(&mut self) -> Option<(Admitted, usize)> {
        Some((Admitted::default(), self.0))
    }

    fn pass(&mut self, admitted: Admitted) -> Admitted {
        admitted
    }
}

const FOR_EVER: Duration = Duration::from_secs(600);

#[test]
fn a_test_begins_as_soon_as_there_is_enough() {
    let looks = Cell::new(0);
    let look = || {
        looks.set(looks.get() + 1);
        free(if looks.get() < 4 { GIB } else { 2 * GIB })
    };
    wait(2 * GIB, FOR_EVER).until_let_in(&Line::new(), look, Young(0)).unwrap();
    assert!(looks.get() >= 4, "{}", looks.get());
}

#[test]
fn what_was_let_in_a_moment_ago_counts_as_memory_that_is_gone() {
    let knocks = Cell::new(0);
    struct Aging<'a>(&'a Cell<usize>);
    impl Door for Aging<'_> {
        fn knock(&mut self) -> Option<(Admitted, usize)> {
            self.0.set(self.0.get() + 1);
            Some((Admitted::default(), if self.0.get() < 3 { 2 } else { 1 }))
        }

        fn pass(&mut self, admitted: Admitted) -> Admitted {
            admitted
        }
    }
    // Enough for itself and for one other.
    wait(GIB, FOR_EVER).until_let_in(&Line::new(), || free(2 * GIB), Aging(&knocks)).unwrap();
    assert_eq!(knocks.get(), 3);
    // They may take what they say that they may.
    let modest = Wait { take: GIB / 2, ..wait(GIB, FOR_EVER) };
    modest.until_let_in(&Line::new(), || free(2 * GIB), Young(2)).unwrap();
}

#[test]
fn one_that_was_let_in_may_take_what_a_test_may_have_or_else_the_floor() {
    let settings = |limits| Settings { limits, ..Settings::default() };
    assert_eq!(Wait::of("a_test", 7, &settings(Limits::new())).take, 7);
    assert_eq!(Wait::of("a_test", 7, &settings(Limits::new().max_test_memory(GIB))).take, GIB);
}

/// Who was let in before may have taken it since.
#[test]
fn memory_is_looked_at_once_more_when_the_door_is_open() {
    struct Taken<'a>(&'a Cell<u64>);
    impl Door for Taken<'_> {
        fn knock(&mut self) -> Option<(Admitted, usize)> {
            self.0.set(0);
            Some((Admitted::default(), 0))
        }

        fn pass(&mut self, admitted: Admitted) -> Admitted {
            admitted
        }
    }
    let memory = Cell::new(2 * GIB);
    wait(GIB, Duration::ZERO).until_let_in(&Line::new(), || free(memory.get()), Taken(&memory)).unwrap_err();
}

#[test]
fn one_that_waited_in_vain_says_for_what_and_what_to_do() {
    let look = || Ok(FreeMemory { machine: 3 * GIB, groups: vec![(GIB, PathBuf::from("/g")), (2 * GIB, "/".into())] });
    let error = wait(2 * GIB, Duration::ZERO).until_let_in(&Line::new(), look, Young(1)).unwrap_err();
    assert!(error.is_refused());
    let text = error.to_string();
    let text = text.split("\n    below this test process").next().unwrap();
    let text = text.split("\n    to do:").next().unwrap();
    insta::assert_snapshot!(text, @"it waited 0ns for 2.0 GiB of free memory, 1.0 GiB are free, of which 2.0 GiB are left to 1 that began a moment ago (3.0 GiB available on this machine, 1.0 GiB left in the control group `/g`)");
    assert!(error.to_string().contains("to do: ") && error.to_string().contains("TERMLEASH_FREE_MEMORY"), "{error}");
}

/// Another process starts its keeper: that it is asked at this moment is no want of memory.
#[test]
fn one_that_finds_the_door_locked_knocks_again_however_short_its_time() {
    struct Locked<'a>(&'a Cell<usize>);
    impl Door for Locked<'_> {
        fn knock(&mut self) -> Option<(Admitted, usize)> {
            self.0.set(self.0.get() + 1);
            (self.0.get() > 2).then(|| (Admitted::default(), 0))
        }

        fn pass(&mut self, admitted: Admitted) -> Admitted {
            admitted
        }
    }
    let knocks = Cell::new(0);
    wait(GIB, Duration::ZERO).until_let_in(&Line::new(), || free(2 * GIB), Locked(&knocks)).unwrap();
    assert_eq!(knocks.get(), 3);
}

/// It is not kept, which is said, and is no reason not to run.
#[test]
fn where_free_memory_cannot_be_read_tests_run() {
    wait(GIB, Duration::ZERO).until_let_in(&Line::new(), || Err("no such file".into()), Young(9)).unwrap();
}

#[test]
fn without_a_floor_nothing_is_looked_at() {
    let settings = Settings { ledger: Some("/no/such/directory".into()), ..Settings::default() };
    admit("a_test", &settings, Where::Apart).unwrap();
    let none = Settings { limits: Limits::new().min_free_memory(0), ..settings };
    let admitted = admit("a_test", &none, Where::Here).unwrap();
    assert!(admitted.here.is_none() && admitted.lock.is_none());
}

#[test]
fn tests_are_let_in_as_they_came() {
    let (line, memory, order) = (Line::new(), AtomicU64::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (line, memory, order) = (&line, &memory, &order);
            scope.spawn(move || {
                struct Noting<'a>(&'a Mutex<Vec<usize>>, usize);
                impl Door for Noting<'_> {
                    fn knock(&mut self) -> Option<(Admitted, usize)> {
                        Some((Admitted::default(), 0))
                    }

                    fn pass(&mut self, admitted: Admitted) -> Admitted {
                        self.0.lock().push(self.1);
                        admitted
                    }
                }
                let look = || free(memory.load(Ordering::SeqCst));
                wait(GIB, FOR_EVER).until_let_in(line, look, Noting(order, number)).unwrap();
            });
            soon("its place in the line", || line.len() == number + 1);
        }
        memory.store(2 * GIB, Ordering::SeqCst);
    });
    assert_eq!(*order.lock(), [0, 1, 2, 3]);
}

#[test]
fn what_began_a_moment_ago_is_known_by_its_ledger_and_by_this_process_and_the_door_is_for_one() {
    let above = tempfile::tempdir().unwrap();
    let settings = Settings { ledger: Some(above.path().join("ledgers")), ..Settings::default() };
    let door = |place| Waiting { settings: &settings, place, locked_out: None, makes_no_ledger: true, young: FOR_EVER };
    let (mut first, mut second) = (door(Where::Apart), door(Where::Apart));
    let (admitted, young) = first.knock().unwrap();
    assert!(young == 0 && second.knock().is_none());
    let directory = Directory::find(&settings).unwrap();
    let admitted = first.pass(admitted);
    assert!(second.knock().is_none(), "until it can be seen");
    let run = uuid::Uuid::now_v7();
    let _file = directory.create_run(run).unwrap();
    drop(admitted);
    let (admitted, young) = second.knock().unwrap();
    assert_eq!(young, 1);
    drop(admitted);
    // An old one does not count.
    let long_ago = uuid::Uuid::new_v7(uuid::Timestamp::from_unix(uuid::NoContext, 1_500_000_000, 0));
    let _file = directory.create_run(long_ago).unwrap();
    assert_eq!(second.knock().unwrap().1, 1);
    directory.remove(&Directory::name_of(run)).unwrap();

    let mut here = door(Where::Here);
    let (admitted, _) = here.knock().unwrap();
    let admitted = here.pass(admitted);
    assert_eq!(second.knock().unwrap().1, 1, "it holds no lock, and is young");
    drop(admitted);
    assert_eq!(second.knock().unwrap().1, 0, "it has ended");
    directory.remove(&Directory::name_of(long_ago)).unwrap();
    drop((first, second));
    assert!(!above.path().join("ledgers").exists(), "nothing is left");
}

/// Somebody has stopped with it.
#[test]
fn a_door_that_stays_locked_is_passed_by_and_only_then() {
    let above = tempfile::tempdir().unwrap();
    let settings = Settings { ledger: Some(above.path().join("ledgers")), ..Settings::default() };
    let door = |locked_out| Waiting {
        settings: &settings,
        place: Where::Apart,
        locked_out,
        makes_no_ledger: true,
        young: YOUNG,
    };
    // Who goes takes an empty directory along.
    let mut first = door(None);
    let (keeps, _) = first.knock().unwrap();
    let mut waits = door(None);
    assert!(waits.knock().is_none() && waits.locked_out.is_some());
    let long_ago = Instant::now().checked_sub(LOCKED);
    let mut waits = door(Some(long_ago.expect("the machine runs longer than that")));
    let (admitted, _) = waits.knock().unwrap();
    assert!(admitted.lock.is_none() && waits.locked_out.is_none());
    drop(keeps);
}
