//! Measures driftless (`live`, `rsync`, `daemon`, `inotifywait`) beside the programs that it replaces, in one run, on one machine.
//!
//! Three stock daemons on loopback, all trees in memory. Each scenario starts afresh for each
//! program and run; figures are medians over the runs, of which the slow programs get one. After
//! each, the trees are compared.

mod copies;
mod memory;
mod programs;
mod publisher;
mod scenarios;
mod served;
mod serving;
mod sustained;
mod table;
mod watching;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use programs::Program;
use table::Table;

const USAGE: &str = "\
usage: bench --driftless BINARY [--runs N] [--only SCENARIO,…] [--program PROGRAM,…]

scenarios: latency burst rename edit delete rewrite idle first-pass
           watch-start watch-drain watch-rate rsync-memory
programs:  shell lsyncd1 lsyncd0 rsync inotifywait driftless
scenarios of driftless rsync: first same touched million large edited inserted text removal
           checksum sessions snapshot
programs:  stock ours our-client our-server
scenarios of driftless daemon: daemon-listing daemon-session daemon-push daemon-pull daemon-idle
Trees are made in $TMPDIR, or in memory below /dev/shm when that is not set.";

struct Choice {
    driftless: PathBuf,
    runs: usize,
    scenarios: Vec<String>,
    programs: Vec<String>,
}

fn main() -> ExitCode {
    let choice = match choose(std::env::args().skip(1)) {
        Ok(choice) => choice,
        Err(message) => {
            eprintln!("bench: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if std::env::var_os("TMPDIR").is_none() {
        let error = Command::new("/proc/self/exe")
            .args(std::env::args_os().skip(1))
            .env("TMPDIR", "/dev/shm")
            .exec();
        eprintln!("bench: cannot start again with TMPDIR=/dev/shm: {error}");
        return ExitCode::FAILURE;
    }
    let mut table = Table::default();
    for scenario in scenarios::ALL {
        if !chosen(&choice.scenarios, scenario.name) {
            continue;
        }
        for program in Program::ALL.iter().filter(|p| scenario.programs.contains(p)) {
            if !chosen(&choice.programs, program.name()) {
                continue;
            }
            let runs = program.runs(choice.runs);
            for run in 1..=runs {
                eprint!("{} {} {run}/{runs}: ", scenario.name, program.name());
                let outcome = (scenario.run)(*program, &choice.driftless);
                eprintln!("{outcome}");
                table.add(*program, outcome);
            }
        }
    }
    println!("{table}");
    copies::run(&copies::Choice {
        driftless: &choice.driftless,
        runs: choice.runs,
        rows: &choice.scenarios,
        casts: &choice.programs,
    });
    serving::run(&choice.driftless, choice.runs, &choice.scenarios);
    if chosen(&choice.scenarios, memory::NAME) {
        memory::run(&choice.driftless);
    }
    ExitCode::SUCCESS
}

fn chosen(list: &[String], name: &str) -> bool {
    list.is_empty() || list.iter().any(|word| word == name)
}

fn choose(mut words: impl Iterator<Item = String>) -> Result<Choice, String> {
    let mut choice =
        Choice { driftless: PathBuf::new(), runs: 3, scenarios: Vec::new(), programs: Vec::new() };
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word} needs a value"))?;
        let list = || value.split(',').map(str::to_owned).collect::<Vec<_>>();
        match word.as_str() {
            "--driftless" => choice.driftless = PathBuf::from(value),
            "--runs" => {
                choice.runs = value.parse().map_err(|_| format!("--runs {value}: no number"))?;
            }
            "--only" => choice.scenarios = list(),
            "--program" => choice.programs = list(),
            _ => return Err(format!("unknown option {word}")),
        }
    }
    let known = |name: &String| {
        name == memory::NAME
            || copies::is_row(name)
            || serving::is_row(name)
            || scenarios::ALL.iter().any(|scenario| scenario.name == name)
    };
    if let Some(name) = choice.scenarios.iter().find(|name| !known(name)) {
        return Err(format!("unknown scenario {name}"));
    }
    let known =
        |name: &String| Program::ALL.iter().any(|p| p.name() == name) || copies::is_cast(name);
    if let Some(name) = choice.programs.iter().find(|name| !known(name)) {
        return Err(format!("unknown program {name}"));
    }
    if chosen(&choice.programs, "driftless") && !choice.driftless.is_file() {
        return Err(format!("--driftless {}: no such file", choice.driftless.display()));
    }
    Ok(choice)
}
