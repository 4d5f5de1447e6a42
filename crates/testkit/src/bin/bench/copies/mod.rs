//! `driftless rsync` beside rsync: each row in each cast, interleaved, medians.
//!
//! The other end is a daemon on loopback, of either program. All trees are in memory.

mod ends;
mod measure;
mod rows;
mod trees;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::plant;

use ends::{Cast, Ends, Way};
use measure::Spent;
use rows::Row;

/// What is to be measured.
pub struct Choice<'a> {
    pub driftless: &'a Path,
    pub runs: usize,
    /// Names of rows; none means all.
    pub rows: &'a [String],
    /// Names of casts; none means all.
    pub casts: &'a [String],
}

/// Whether there is a row of this name.
pub fn is_row(name: &str) -> bool {
    rows::ALL.iter().any(|row| row.name == name)
}

/// Whether there is a cast of this name.
pub fn is_cast(name: &str) -> bool {
    Cast::ALL.iter().any(|cast| cast.word() == name)
}

/// Where the trees of a row are.
pub struct Place {
    folder: PathBuf,
}

impl Place {
    /// What is copied.
    pub fn source(&self) -> PathBuf {
        self.folder.join("m/source")
    }

    /// Where it goes.
    pub fn target(&self) -> PathBuf {
        self.folder.join("m/target")
    }

    /// What the target is made of before each run, or what a snapshot links to.
    pub fn old(&self) -> PathBuf {
        self.folder.join("m/old")
    }
}

/// What one run gave.
struct Outcome {
    spent: Spent,
    wire_bytes: Option<u64>,
}

/// Measures, and prints a table.
pub fn run(choice: &Choice<'_>) {
    let wanted =
        |row: &&Row| choice.rows.is_empty() || choice.rows.iter().any(|name| name == row.name);
    if rows::ALL.iter().find(wanted).is_none() {
        return;
    }
    println!(
        "{:44} {:6} {:24} {:>7} {:>7} {:>8} {:>10}   ratio: wall (goal) cpu (goal) memory wire",
        "", "", "", "wall s", "cpu s", "MiB", "wire bytes"
    );
    rows::ALL.iter().filter(wanted).for_each(|row| measure_row(row, choice));
}

fn measure_row(row: &Row, choice: &Choice<'_>) {
    let folder = tempfile::Builder::new().prefix("copies-").tempdir().expect("a place in memory");
    let place = Place { folder: folder.path().to_owned() };
    std::fs::create_dir(folder.path().join("m")).expect("the folder is ours");
    let ends = Ends::new(choice.driftless, folder.path(), &folder.path().join("m"));
    (row.prepare)(&place);
    plant::age(&place.source());
    (row.then)(&place);
    for &way in row.ways {
        let mut outcomes: BTreeMap<Cast, Vec<Outcome>> = BTreeMap::new();
        for run in 1..=choice.runs {
            for cast in Cast::ALL {
                let wanted = choice.casts.is_empty()
                    || cast == Cast::Stock
                    || choice.casts.iter().any(|name| name == cast.word());
                let possible = way != Way::Local || matches!(cast, Cast::Stock | Cast::Ours);
                if wanted && possible {
                    eprintln!("{} {} {} {run}/{}", row.name, way.name(), cast.name(), choice.runs);
                    outcomes.entry(cast).or_default().push(run_once(row, &place, &ends, cast, way));
                }
            }
        }
        print_row(row, way, &outcomes);
    }
}

fn run_once(row: &Row, place: &Place, ends: &Ends, cast: Cast, way: Way) -> Outcome {
    (row.reset)(place);
    let link_dest = match way {
        Way::Local => format!("--link-dest={}", place.old().display()),
        Way::Push | Way::Pull => "--link-dest=../old".to_owned(),
    };
    let mut options: Vec<&str> = row.options.to_vec();
    if row.links {
        options.push(&link_dest);
    }
    let (source, target) = (place.source(), place.target());
    let session = ends::Session {
        cast,
        way,
        options: &options,
        source: &source,
        target: &target,
        times: row.times,
    };
    let (spent, wire_bytes) = ends.run(&session);
    let found = differences(&source, &target, &CompareOptions::default());
    let found = found.expect("both trees can be read");
    assert!(found.is_empty(), "{} {}: {:?}", row.name, cast.name(), &found[..found.len().min(5)]);
    Outcome { spent, wire_bytes }
}

fn median<T: Ord + Copy>(values: impl Iterator<Item = T>) -> T {
    let mut values: Vec<T> = values.collect();
    values.sort();
    values[values.len() / 2]
}

fn print_row(row: &Row, way: Way, outcomes: &BTreeMap<Cast, Vec<Outcome>>) {
    let figures = |cast: &Cast| {
        let runs = outcomes.get(cast)?;
        let wall = median(runs.iter().map(|run| run.spent.wall));
        let cpu = median(runs.iter().map(|run| run.spent.cpu));
        let memory = median(runs.iter().map(|run| run.spent.memory));
        let wire = median(runs.iter().map(|run| run.wire_bytes.unwrap_or(0)));
        Some((wall, cpu, memory, wire))
    };
    let base = figures(&Cast::Stock);
    for cast in outcomes.keys() {
        let Some((wall, cpu, memory, wire)) = figures(cast) else { continue };
        let mut line = format!(
            "{:44} {:6} {:24} {:7.3} {:7.3} {:8.1} {:10}",
            row.title,
            way.name(),
            cast.name(),
            wall.as_secs_f64(),
            cpu.as_secs_f64(),
            memory as f64 / 1024.0,
            wire
        );
        if let Some((base_wall, base_cpu, base_memory, base_wire)) =
            base.filter(|_| *cast != Cast::Stock)
        {
            let of = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64().max(1e-6);
            let shown = |goal: Option<f64>| goal.map_or(String::new(), |goal| format!(" ({goal})"));
            let (wall_goal, cpu_goal) = row.goals(*cast, way);
            line += &format!("   {:.2}{}", of(wall, base_wall), shown(wall_goal));
            line += &format!("  {:.2}{}", of(cpu, base_cpu), shown(cpu_goal));
            line += &format!("  {:.2}", memory as f64 / base_memory.max(1) as f64);
            line += &format!("  {:.3}", wire as f64 / base_wire.max(1) as f64);
        }
        println!("{line}");
    }
}
