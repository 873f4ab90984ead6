//! Which blocks are looked at, and how many each of them stands for.
//!
//! One in so many bytes, by chance: so a big block is nearly always looked at, and no rhythm of a program is in step with it. A
//! block of `size` is looked at with the probability `1 - exp(-size / every)`, and stands for the inverse of that.

/// The chance of one thread.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Chance {
    /// Bytes until the next look.
    left: f64,
    /// Of xorshift64*: never 0.
    state: u64,
}

impl Chance {
    pub(crate) fn new(seed: u64, every: u64) -> Self {
        // Threads are numbered: mixed, so that neighbours differ (splitmix64).
        let mut mixed = seed.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mut chance = Self { left: 0.0, state: (mixed ^ (mixed >> 27)) | 1 };
        chance.left = chance.next(every);
        chance
    }

    /// How many blocks of this size this one stands for; `None` if it is not looked at.
    pub(crate) fn look(&mut self, size: usize, every: u64) -> Option<f64> {
        if every <= 1 {
            return Some(1.0);
        }
        self.left -= size as f64;
        if self.left > 0.0 {
            return None;
        }
        // It has no memory, so what the block was too big by needs not be taken over.
        self.left = self.next(every);
        Some(stands_for(size, every))
    }

    fn next(&mut self, every: u64) -> f64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        let bits = self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11;
        // In (0, 1]: the logarithm of 0 is none.
        let uniform = (bits + 1) as f64 / (1u64 << 53) as f64;
        -uniform.ln() * every as f64
    }
}

fn stands_for(size: usize, every: u64) -> f64 {
    // Not `1 - exp(x)`, which loses all digits of small blocks.
    -1.0 / (-(size.max(1) as f64) / every as f64).exp_m1()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_is_looked_at_where_all_are_wanted() {
        let mut chance = Chance::new(0, 1);
        assert!((1..100).all(|size| chance.look(size, 1) == Some(1.0)));
    }

    #[test]
    fn what_is_looked_at_stands_for_what_there_was() {
        for (size, every) in [(16, 512), (100, 4096), (4096, 4096), (100_000, 4096)] {
            let mut bytes = 0.0;
            for seed in 0..8 {
                let mut chance = Chance::new(seed, every);
                bytes += (0..40_000).filter_map(|_| chance.look(size, every)).sum::<f64>() * size as f64;
            }
            let truth = 8.0 * 40_000.0 * size as f64;
            assert!((bytes / truth - 1.0).abs() < 0.05, "{size} bytes, every {every}: {}", bytes / truth);
        }
    }

    #[test]
    fn a_block_far_larger_than_the_step_stands_for_itself() {
        assert!((stands_for(1 << 20, 4096) - 1.0).abs() < 1e-9);
        assert!((stands_for(1, 1 << 30) / (1u64 << 30) as f64 - 1.0).abs() < 1e-6);
    }
}
