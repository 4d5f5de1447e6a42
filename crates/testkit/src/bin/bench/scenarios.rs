//! What is measured.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;

use crate::programs::Program;
use crate::publisher::Publisher;
use crate::sustained;
use crate::table::{Figure, Outcome, Row};
use crate::watching;

/// One measurement.
pub struct Scenario {
    /// The name on the command line.
    pub name: &'static str,
    /// The programs that it makes sense for.
    pub programs: &'static [Program],
    /// Measures one program once.
    pub run: fn(Program, &Path) -> Outcome,
}

/// All of them, in the order of the table's rows.
pub const ALL: &[Scenario] = &[
    Scenario { name: "latency", programs: Program::LIVE, run: latency },
    Scenario { name: "burst", programs: Program::LIVE, run: burst },
    Scenario { name: "rename", programs: Program::LIVE, run: rename },
    Scenario { name: "edit", programs: Program::LIVE, run: edit },
    Scenario { name: "delete", programs: Program::LIVE, run: delete },
    Scenario { name: "rewrite", programs: Program::LIVE, run: rewrite },
    Scenario { name: "idle", programs: Program::LIVE, run: idle },
    Scenario {
        name: "first-pass",
        programs: &[Program::Rsync, Program::Driftless],
        run: first_pass,
    },
    Scenario { name: "watch-start", programs: Program::WATCHING, run: watching::start },
    Scenario { name: "watch-drain", programs: Program::WATCHING, run: watching::drain },
    Scenario { name: "watch-rate", programs: Program::WATCHING, run: sustained::rate },
];

fn stage(driftless: &Path, targets: usize) -> Stage {
    Stage::book(&driftless.to_string_lossy(), targets)
}

fn started(program: Program, driftless: &Path, stage: Stage, count_bytes: bool) -> Publisher {
    let publisher = Publisher::start(program, driftless, stage, count_bytes);
    publisher.wait_ready();
    publisher
}

/// One small file changed, again and again; with the processor time of fifty changes.
fn latency(program: Program, driftless: &Path) -> Outcome {
    const CHANGES: usize = 50;
    let stage = stage(driftless, 3);
    plant::forest(&stage.source(), 50, 1_000, 1_000);
    let publisher = started(program, driftless, stage, false);
    let before = publisher.usage().cpu_seconds;
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let name = plant::forest_file(50, change * 7);
        // Another size each time: same-size changes have their own scenario.
        let content = plant::noise(change as u64, 1_001 + change);
        publisher.stage.write(&name, &content);
        match publisher.time_until(|| publisher.everywhere(&name, &content).is_some()) {
            Some(time) => times.push(time),
            None => return Outcome::late(Row::LatencyMedian),
        }
        publisher.wait_idle();
    }
    let cpu = publisher.usage().cpu_seconds - before;
    times.sort();
    Outcome {
        figures: vec![
            Figure::millis(Row::LatencyMedian, times[CHANGES / 2]),
            Figure::millis(Row::LatencyWorst, times[CHANGES * 99 / 100]),
            Figure::new(Row::ChangesCpu, cpu),
        ],
        lost: publisher.lost(),
    }
}

fn burst(program: Program, driftless: &Path) -> Outcome {
    const FILES: usize = 10_000;
    const FOLDERS: usize = 100;
    let stage = stage(driftless, 3);
    let publisher = started(program, driftless, stage, false);
    plant::forest(&publisher.stage.source(), FOLDERS, FILES, 1_000);
    let mut next = 0;
    let time = publisher.time_until(publisher.all_targets(move |target| {
        let arrived = |file: usize| {
            let path = target.join(plant::forest_file(FOLDERS, file));
            fs::metadata(path).is_ok_and(|meta| meta.len() == 1_000)
        };
        while next < FILES && arrived(next) {
            next += 1;
        }
        if next < FILES {
            return false;
        }
        next = 0;
        true
    }));
    finish(&publisher, Row::Burst, time.map(|time| vec![Figure::seconds(Row::Burst, time)]))
}

fn rename(program: Program, driftless: &Path) -> Outcome {
    const FILES: usize = 1_000;
    let stage = stage(driftless, 3);
    for file in 0..FILES {
        stage.write(&format!("album/f{file:04}"), plant::noise(file as u64, 100_000));
    }
    let publisher = started(program, driftless, stage, true);
    let before = publisher.bytes();
    fs::rename(publisher.stage.at("album"), publisher.stage.at("gallery")).expect("it is there");
    let time = publisher.time_until(publisher.all_targets(|target| {
        let size = |file| {
            fs::metadata(target.join(format!("gallery/f{file:04}"))).map_or(0, |meta| meta.len())
        };
        !target.join("album").exists() && (0..FILES).rev().all(|file| size(file) == 100_000)
    }));
    publisher.wait_idle();
    let bytes = publisher.bytes() - before;
    let figures = |time| {
        vec![Figure::seconds(Row::RenameTime, time), Figure::megabytes(Row::RenameBytes, bytes)]
    };
    finish(&publisher, Row::RenameTime, time.map(figures))
}

fn edit(program: Program, driftless: &Path) -> Outcome {
    const LEN: usize = 200 << 20;
    const AT: usize = LEN / 2 + 1_234;
    let stage = stage(driftless, 3);
    stage.write("image", plant::noise(1, LEN));
    let publisher = started(program, driftless, stage, true);
    let (bytes, read) = (publisher.bytes(), publisher.bytes_read());
    let new = plant::noise(2, 4_096);
    let mut file = fs::File::options()
        .write(true)
        .open(publisher.stage.at("image"))
        .expect("the file is there");
    file.seek(SeekFrom::Start(AT as u64)).expect("the file is long enough");
    file.write_all(&new).expect("the source is ours");
    drop(file);
    let time = publisher.time_until(publisher.all_targets(|target| {
        use std::os::unix::fs::FileExt;
        let mut there = vec![0; new.len()];
        fs::File::open(target.join("image"))
            .and_then(|file| file.read_exact_at(&mut there, AT as u64))
            .is_ok_and(|()| there == new)
    }));
    publisher.wait_idle();
    let (bytes, read) = (publisher.bytes() - bytes, publisher.bytes_read() - read);
    let figures = |time| {
        let mut figures =
            vec![Figure::seconds(Row::EditTime, time), Figure::megabytes(Row::EditBytes, bytes)];
        if program == Program::Driftless {
            figures.push(Figure::new(Row::EditReads, read as f64 / LEN as f64));
        }
        figures
    };
    finish(&publisher, Row::EditTime, time.map(figures))
}

fn delete(program: Program, driftless: &Path) -> Outcome {
    let stage = stage(driftless, 3);
    plant::forest(&stage.source(), 20, 1_000, 1_000);
    for file in 0..1_000 {
        stage.write(&format!("tree/d{:02}/f{file:04}", file % 20), "to be deleted");
    }
    let publisher = started(program, driftless, stage, false);
    fs::remove_dir_all(publisher.stage.at("tree")).expect("it is there");
    let time = publisher.time_until(publisher.all_targets(|target| !target.join("tree").exists()));
    finish(&publisher, Row::Delete, time.map(|time| vec![Figure::seconds(Row::Delete, time)]))
}

/// The same file twice within one second of the clock, with the same size.
fn rewrite(program: Program, driftless: &Path) -> Outcome {
    const TRIALS: usize = 10;
    let stage = stage(driftless, 3);
    stage.write("page", vec![b'0'; 1_000]);
    let publisher = started(program, driftless, stage, false);
    let mut lost = 0;
    for trial in 0..TRIALS {
        let (first, second) =
            (plant::noise(trial as u64, 1_000), plant::noise(1_000 + trial as u64, 1_000));
        while fraction_of_second() > 0.05 {
            std::thread::sleep(Duration::from_millis(5));
        }
        publisher.stage.write("page", &first);
        while fraction_of_second() < 0.85 && publisher.everywhere("page", &first).is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        publisher.stage.write("page", &second);
        let arrived = driftless_testkit::wait::within(Duration::from_secs(8), || {
            publisher.everywhere("page", &second)
        });
        if arrived.is_none() {
            lost += 1;
        }
    }
    Outcome { figures: vec![Figure::new(Row::Rewrite, f64::from(lost))], lost: None }
}

fn fraction_of_second() -> f64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970");
    f64::from(now.subsec_nanos()) / 1e9
}

fn idle(program: Program, driftless: &Path) -> Outcome {
    const SECONDS: u64 = 10;
    let stage = stage(driftless, 1);
    plant::forest(&stage.source(), 5_000, 100_000, 100);
    let publisher = started(program, driftless, stage, false);
    let before = publisher.usage().cpu_seconds;
    std::thread::sleep(Duration::from_secs(SECONDS));
    let after = publisher.usage();
    let share = (after.cpu_seconds - before) / SECONDS as f64 * 100.0;
    Outcome {
        figures: vec![
            Figure::megabytes(Row::IdleMemory, after.resident_bytes),
            Figure::new(Row::IdleCpu, share),
        ],
        lost: publisher.lost(),
    }
}

fn first_pass(program: Program, driftless: &Path) -> Outcome {
    let stage = stage(driftless, 1);
    plant::forest(&stage.source(), 5_000, 100_000, 100);
    let mut publisher = Publisher::start(program, driftless, stage, false);
    let (time, cpu) = publisher.first_pass();
    finish(
        &publisher,
        Row::FirstPassTime,
        Some(vec![Figure::seconds(Row::FirstPassTime, time), Figure::new(Row::FirstPassCpu, cpu)]),
    )
}

/// `late` is the row of a time that was not reached.
fn finish(publisher: &Publisher, late: Row, figures: Option<Vec<Figure>>) -> Outcome {
    match figures {
        Some(figures) => Outcome { figures, lost: publisher.lost() },
        None => Outcome::late(late),
    }
}
