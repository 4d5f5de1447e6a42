//! Random sets of options on random trees.

use driftless_testkit::arb::Ops;
use fastrand::Rng;

use crate::cells::check;
use crate::ground::{Ground, Way};
use crate::matrix::on_all_cores;
use crate::sets::SETS;
use crate::trees::plant;

/// Sets by default, and with `DRIFTLESS_FULL` in the environment.
const COUNTS: [usize; 2] = [20, 1000];

/// So many sets share a tree.
const PER_TREE: usize = 20;

#[test]
fn random_sets_of_options_on_random_trees() {
    let seed = Ops::seed_from_environment();
    let ground = Ground::new();
    let count = COUNTS[usize::from(std::env::var_os("DRIFTLESS_FULL").is_some())];
    for tree in 0..count / PER_TREE {
        let master = ground.path(&format!("master{tree}"));
        std::fs::create_dir(&master).unwrap();
        plant(&master, seed.wrapping_add(tree as u64));
    }
    on_all_cores(count, seed, |at| {
        let mut random = Rng::with_seed(seed.wrapping_mul(31).wrapping_add(at as u64));
        let way = Way::ALL[random.usize(..Way::ALL.len())];
        let cast = way.casts()[random.usize(..way.casts().len())];
        let mut words: Vec<String> = Vec::new();
        for _ in 0..random.usize(2..5) {
            let set = SETS[random.usize(..SETS.len())];
            words.extend(set.split_whitespace().map(str::to_owned));
        }
        if random.u8(..3) == 0 {
            words.push(format!("--protocol={}", random.u32(29..32)));
        }
        let master = ground.path(&format!("master{}", at / PER_TREE));
        check(&ground, &master, &at.to_string(), way, &[cast], &words)
    });
}
