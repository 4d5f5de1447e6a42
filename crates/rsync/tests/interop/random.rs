//! Random sets of options on random trees.

use std::path::Path;

use driftless_testkit::arb::Ops;
use fastrand::Rng;

use crate::cells::{Count, check, has_letter, verbosity};
use crate::ground::{Ground, Way};
use crate::matrix::{on_all_cores, runs_in_full};
use crate::sets::SETS;
use crate::trees::{blocks_a_group, holds_more_behind_a_link, leads_back, plant};

/// Sets with `DRIFTLESS_FULL` in the environment.
const COUNT: usize = 1000;

/// So many sets share a tree.
const PER_TREE: usize = 20;

/// Seeds of the sets that run by default, with the tree of seed 1.
const USUAL: std::ops::Range<u64> = 0..30;

/// Whether the original's answer to these words on a tree depends on the moment, or is not one to
/// follow.
fn is_left_out(words: &[String], way: Way, master: &Path) -> bool {
    let has = |letter| words.iter().any(|word| has_letter(word, letter));
    let given = |start: &str| words.iter().any(|word| word.starts_with(start));
    let listed_below = has('L') || has('k') || given("--copy-unsafe-links");
    // Where links are followed, one file has several names, and which are removed before the others
    // are read is a matter of time.
    let removes = given("--remove-source-files");
    let races = removes && listed_below;
    // In a dry run the original fails to copy attributes to directories that are not there.
    let is_alternate = |word: &String| word.contains("-dest=");
    let copies = words.iter().any(is_alternate) && has('X') && has('n');
    // The original leaves what it has linked to itself, and says so, where it sees that.
    let keeps = removes && given("--link-dest=../s") && way == Way::Local;
    // In an alternate directory it follows links to directories, which can lead anywhere.
    let follows = given("--link-dest=../s") && listed_below;
    // Where an alternate directory has some names of a file and not others, as those by way of a link,
    // it may request what is in no list any more, or wait for ever.
    let parts = has('H') && given("--compare-dest") && listed_below;
    // It cannot copy to a folder that is reached by way of a parent.
    let writes = given("--inplace") || given("--append");
    let fails = given("--backup-dir=../") && writes;
    // With --fake-super it says of what it writes in place what that says itself.
    let says_twice = writes && words.iter().any(|word| word.ends_with("--fake-super"));
    // What it appends to something else than what is here is not the source's file.
    let spoils = given("--append") && (words.iter().any(is_alternate) || has('y'));
    // Before or after everything it deletes below a link to a directory of the destination, too,
    // whatever protects that or is listed there.
    let goes_everywhere = |word: &String| match word.as_str() {
        "--delete" | "--delete-excluded" => given("--protocol=29"),
        word => matches!(word, "--delete-before" | "--delete-after"),
    };
    let is_everywhere = words.iter().any(goes_everywhere);
    let wanders = listed_below && !has('K') && is_everywhere && holds_more_behind_a_link(master);
    // What it removes, as an alternate directory has it, it may still take for similar.
    let misses = given("--compare-dest") && has('y');
    // It leaves a hole where the old version was, and may find it and begin again.
    let holes = has('S') && given("--append");
    // Without powers it makes a file writable before it deletes it, also where that is kept or stays.
    let stays = has('b') || given("--backup") || given("--max-delete");
    let loosens = given("--no-super") && given("--del") && stays;
    // Behind a link that gives way to a directory it deletes what it has just kept.
    let forgets = has('L') && has('b') && given("--delete-excluded");
    // Behind a kept link that leads outside it links what an alternate has, and says of what it
    // cannot back up that it is deleted.
    let leads_out = has('K') && (has('L') || given("--copy-unsafe-links"));
    let leaves = leads_out && (words.iter().any(is_alternate) || has('b'));
    // What is done to a directory by one of its names may be seen by the other one, or be undone.
    let is_seen_twice = has('K') && has('L');
    // A kept link that it has given to another user it follows for a part of its work, and ACLs and
    // attributes it tries to give to the link.
    let gives_away = has('K') && (given("--usermap") || given("--chown") || has('A') || has('X'));
    // Where one name of a file stays a directory, as with backups in it, it makes none of the others,
    // or waits for ever.
    let clears = |word: &String| match word.as_str() {
        "--delete-missing-args" => false,
        word => word.starts_with("--delete") || matches!(word, "--del" | "--force"),
    };
    let gives_way = words.iter().any(clears);
    let blocks = has('H') && (!gives_way || has('b')) && blocks_a_group(master);
    // Behind a link that leads back it lists more than it can open or, in a dry run, look for: each
    // time it goes by all the links again.
    let returns = has('L') && leads_back(master);
    // Where its daemon knows no names it maps an id of ACLs only where that is listed first, and its
    // sender lists in the order of the disk.
    let maps = given("--usermap") || given("--groupmap") || given("--chown");
    let is_mapped_once = maps && has('A') && listed_below && way == Way::PushDaemon;
    // What this protocol says of an error at the source stops deletions at once, not from the next
    // directory on.
    let stops = given("--protocol=30") && gives_way && listed_below;
    // It reads rules of the destination, and alternate directories, as they lie; ours leaves the times
    // of their last access.
    let reads = has('U') && (has('F') || words.iter().any(is_alternate));
    // It finds out that there are no digests to compare where the list is made, ours in the options.
    let digestless = has('c') && given("--cc=none");
    // What it could not verify it does not request again where only what is there is updated.
    let retains = given("--append-verify") && given("--existing");
    // It makes a directory for the backup of an unsafe link, and keeps none, before the file in the
    // link's place comes: ours when that is there, so that the copied time is another one.
    let is_made_early = given("--safe-links") && given("--backup-dir");
    // Its server, which is not told of -8, writes its errors itself.
    let escapes = has('8') && has('L');
    // With three -v it tells of its own steps.
    let steps = verbosity(words) >= 3;
    let of_times = [races, is_seen_twice, stops, is_made_early];
    let of_links = [follows, parts, forgets, leaves, gives_away, blocks, wanders, returns];
    let of_versions =
        [copies, keeps, fails, spoils, holes, loosens, is_mapped_once, retains, misses];
    let of_texts = [steps, reads, digestless, escapes, says_twice];
    of_times.into_iter().chain(of_links).chain(of_versions).chain(of_texts).any(|is_so| is_so)
}

/// Runs the set of this seed on copies of a tree, in a folder of this name.
fn check_set(ground: &Ground, master: &Path, name: &str, seed: u64) -> Count {
    let mut random = Rng::with_seed(seed);
    let way = Way::ALL[random.usize(..Way::ALL.len())];
    let cast = way.casts()[random.usize(..way.casts().len())];
    let mut words: Vec<String> = Vec::new();
    for _ in 0..random.usize(2..5) {
        let set = SETS[random.usize(..SETS.len())];
        let more = set.split_whitespace().map(str::to_owned);
        let all: Vec<String> = words.iter().cloned().chain(more).collect();
        if !is_left_out(&all, way, master) {
            words = all;
        }
    }
    if random.u8(..3) == 0 {
        words.push(format!("--protocol={}", random.u32(29..32)));
        if is_left_out(&words, way, master) {
            words.pop();
        }
    }
    let mut count = check(ground, master, name, way, &[cast], &words);
    for wrong in &mut count.wrong {
        wrong.insert_str(0, &format!("set {seed}: "));
    }
    count
}

#[test]
fn some_sets_of_options_are_equal() {
    let ground = Ground::new();
    let master = ground.path("master");
    std::fs::create_dir(&master).unwrap();
    plant(&master, 1);
    let sets: Vec<u64> = USUAL.collect();
    on_all_cores(sets.len(), 1, |at| check_set(&ground, &master, &at.to_string(), sets[at]));
}

/// Runs with `DRIFTLESS_FULL` in the environment alone.
#[test]
fn random_sets_of_options_on_random_trees() {
    if !runs_in_full() {
        return;
    }
    let seed = Ops::seed_from_environment();
    let ground = Ground::new();
    for tree in 0..COUNT / PER_TREE {
        let master = ground.path(&format!("master{tree}"));
        std::fs::create_dir(&master).unwrap();
        plant(&master, seed.wrapping_add(tree as u64));
    }
    on_all_cores(COUNT, seed, |at| {
        let master = ground.path(&format!("master{}", at / PER_TREE));
        let set = seed.wrapping_mul(31).wrapping_add(at as u64);
        check_set(&ground, &master, &at.to_string(), set)
    });
}
