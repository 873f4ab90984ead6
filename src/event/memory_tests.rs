//! Records: whole, torn, and in the place of others.

use super::*;

/// That a test may change word by word.
fn words(memory: &Memory) -> Vec<u64> {
    memory.make_rings();
    memory.words()
}

impl Memory {
    pub(crate) fn words(&self) -> Vec<u64> {
        let all = self.front.all().iter().chain(self.rings.get().expect("they are made").all());
        all.map(|word| word.load(Ordering::Relaxed)).collect()
    }
}

#[test]
fn tables_do_not_overlap() {
    let memory = Memory::own();
    memory.make_rings();
    assert_eq!(words(&memory).len(), WORDS);
    let fill = |row: usize| row as u64 + 1;
    fn put_all<const N: usize>(memory: &Memory, table: &Table<N>, fill: impl Fn(usize) -> u64) {
        (0..table.rows).for_each(|row| memory.put(table, row, [fill(row); N]));
    }
    fn is_whole<const N: usize>(memory: &Memory, table: &Table<N>, fill: impl Fn(usize) -> u64) {
        (0..table.rows).for_each(|row| assert_eq!(memory.get(table, row), Slot::Whole([fill(row); N])));
    }
    put_all(&memory, &HEAD, fill);
    put_all(&memory, &PARTS, fill);
    put_all(&memory, &DROPPED, fill);
    put_all(&memory, &SAMPLES, fill);
    put_all(&memory, &TOTALS, fill);
    put_all(&memory, &FLOWS, fill);
    put_all(&memory, &SESSIONS, fill);
    put_all(&memory, &STEPS, fill);
    is_whole(&memory, &HEAD, fill);
    is_whole(&memory, &PARTS, fill);
    is_whole(&memory, &DROPPED, fill);
    is_whole(&memory, &SAMPLES, fill);
    is_whole(&memory, &TOTALS, fill);
    is_whole(&memory, &FLOWS, fill);
    is_whole(&memory, &SESSIONS, fill);
    is_whole(&memory, &STEPS, fill);
}

/// As a process leaves it that dies between any two of its stores, and whatever bit was changed.
#[test]
fn a_record_that_is_half_another_is_torn() {
    let (old, new) = (Memory::own(), Memory::own());
    for (memory, record) in [(&old, [3, 1000, 77, 5, 1, 0]), (&new, [515, 2000, 78, 9, 3, 2000])] {
        memory.make_rings();
        memory.put(&FLOWS, 3, record);
    }
    let (old, new) = (words(&old), words(&new));
    let place = FLOWS.place(3);
    for half in 1..(1 << 7) - 1 {
        let mut torn = old.clone();
        (0..7).filter(|at| half >> at & 1 == 1).for_each(|at| torn[place + at] = new[place + at]);
        let slot = Memory::of(&torn).get(&FLOWS, 3);
        let is_one_of_both =
            torn[place..place + 7] == old[place..place + 7] || torn[place..place + 7] == new[place..place + 7];
        assert_eq!(slot == Slot::Torn, !is_one_of_both, "{half:b}: {slot:?}");
    }
    for bit in 0..7 * 64 {
        let mut changed = new.clone();
        changed[place + bit / 64] ^= 1 << (bit % 64);
        assert_eq!(Memory::of(&changed).get(&FLOWS, 3), Slot::Torn, "{bit}");
    }
}

#[test]
fn a_record_counts_in_its_own_place_only() {
    let memory = Memory::own();
    memory.make_rings();
    memory.put(&STEPS, 0, [9; 15]);
    let mut moved = words(&memory);
    let (from, to) = (STEPS.place(0), STEPS.place(1));
    moved.copy_within(from..from + 16, to);
    let moved = Memory::of(&moved);
    assert_eq!((moved.get(&STEPS, 0), moved.get(&STEPS, 1)), (Slot::Whole([9; 15]), Slot::Torn));
}

#[test]
fn what_is_not_of_its_size_is_empty() {
    for count in [0, 1, WORDS - 1, WORDS + 1] {
        assert_eq!(Memory::of(&vec![7; count]).get(&HEAD, 0), Slot::Empty);
    }
}

#[test]
fn a_record_that_is_changed_in_part_has_the_sum_of_the_whole() {
    let memory = Memory::own();
    memory.make_rings();
    memory.put(&TOTALS, 5, [5, 1, 2, 3, u64::MAX, 5, 6]);
    memory.change(&TOTALS, 5, 4, |before| before.map(|word| word.wrapping_add(9)));
    assert_eq!(memory.get(&TOTALS, 5), Slot::Whole([5, 1, 2, 3, 8, 14, 15]));
    let mut damaged = words(&memory);
    damaged[TOTALS.place(5) + 1] ^= 4;
    let damaged = Memory::of(&damaged);
    damaged.change(&TOTALS, 5, 4, |_| [0; 3]);
    assert_eq!(damaged.get(&TOTALS, 5), Slot::Torn);
}
