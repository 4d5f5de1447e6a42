//! The one list of options of a mirror.
//!
//! A row is a flag `--NAME` of `driftless live` and a key `NAME` of `[[mirror]]`. In a file, keys
//! take effect in the order of this list, whatever order they are written in: TOML tables have
//! none.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use driftless_filter::Given;
use driftless_transfer::options::CompressChoice;

use super::draft::{Draft, rule_file};
use super::values::{
    archive, backend, block_size, bwlimit, checksum_choice, chmod, compress_choice, compress_level,
    duration, max_delete, name, nonzero, number, poll_interval, protocol, schedule,
};

/// One option.
#[derive(Debug)]
pub struct OptionRow {
    /// The long flag and the key; of a [`Form::Letter`] the letter.
    pub name: &'static str,
    /// Its letter.
    pub short: Option<char>,
    /// Other long flags that rsync has for it.
    pub aliases: &'static [&'static str],
    /// What is written behind it.
    pub form: Form,
    /// One line of help.
    pub help: &'static str,
    /// What it does.
    pub effect: Effect,
}

/// What is written behind an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Nothing; there is also `--no-NAME`. In a file `true` or `false`.
    Switch,
    /// Nothing, and no negation. In a file `true` or `false`, where `false` changes nothing.
    On,
    /// As [`Form::On`], with neither a long flag nor a key.
    Letter,
    /// A value; the last one counts.
    Value(&'static str),
    /// A value, and more with each repetition. In a file a string or a list of strings.
    List(&'static str),
}

impl Form {
    /// Returns whether something is written behind it.
    pub fn value_name(self) -> Option<&'static str> {
        match self {
            Self::Value(name) | Self::List(name) => Some(name),
            Self::Switch | Self::On | Self::Letter => None,
        }
    }

    /// Returns whether `--no-NAME` exists.
    pub fn negatable(self) -> bool {
        matches!(self, Self::Switch)
    }
}

/// What an option does.
#[derive(Debug, Clone, Copy)]
pub enum Effect {
    /// Sets or clears.
    Switch(fn(&mut Draft, bool)),
    /// Takes the value; the error says what is wrong with it.
    Take(fn(&mut Draft, &OsStr) -> Result<(), String>),
    /// An option of rsync's that mirrors do not have yet.
    NotYet,
}

impl OptionRow {
    /// Returns the option as it is typed: `--name`, or `-X`.
    pub fn flag(&self) -> String {
        match self.form {
            Form::Letter => format!("-{}", self.name),
            _ => format!("--{}", self.name),
        }
    }

    /// Returns the key in files, if there is one.
    pub fn key(&self) -> Option<&'static str> {
        (self.form != Form::Letter).then_some(self.name)
    }

    /// Returns whether mirrors have it.
    pub fn supported(&self) -> bool {
        !matches!(self.effect, Effect::NotYet)
    }

    const fn short(mut self, letter: char) -> Self {
        self.short = Some(letter);
        self
    }

    const fn aliases(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }
}

const fn row(name: &'static str, form: Form, help: &'static str, effect: Effect) -> OptionRow {
    OptionRow { name, short: None, aliases: &[], form, help, effect }
}

const fn switch(name: &'static str, help: &'static str, set: fn(&mut Draft, bool)) -> OptionRow {
    row(name, Form::Switch, help, Effect::Switch(set))
}

const fn on(name: &'static str, help: &'static str, set: fn(&mut Draft, bool)) -> OptionRow {
    row(name, Form::On, help, Effect::Switch(set))
}

const fn value(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    take: fn(&mut Draft, &OsStr) -> Result<(), String>,
) -> OptionRow {
    row(name, Form::Value(value), help, Effect::Take(take))
}

const fn list(
    name: &'static str,
    value: &'static str,
    help: &'static str,
    take: fn(&mut Draft, &OsStr) -> Result<(), String>,
) -> OptionRow {
    row(name, Form::List(value), help, Effect::Take(take))
}

const fn not_yet(name: &'static str, form: Form) -> OptionRow {
    row(name, form, "", Effect::NotYet)
}

/// A value of an option that does not work yet.
const ANY: Form = Form::Value("VALUE");

/// All options, in the order in which the keys of a file take effect.
pub static OPTIONS: &[OptionRow] = &[
    value(
        "name",
        "NAME",
        "The mirror's name in commands and logs [default: SRC's last part]",
        name,
    ),
    // Rules, in the order in which a file's take effect: the first match decides.
    list("filter", "RULE", "A filter rule, as in rsync", |d, v| {
        d.rules.push(Given::Filter(v.as_bytes().to_vec()));
        Ok(())
    })
    .short('f'),
    list("include", "PATTERN", "Do not exclude what matches", |d, v| {
        d.rules.push(Given::Include(v.as_bytes().to_vec()));
        Ok(())
    }),
    list("include-from", "FILE", "Read include patterns from a file", |d, v| {
        d.rules.push(Given::IncludeFrom(rule_file(&d.circumstances, v)?));
        Ok(())
    }),
    list("exclude", "PATTERN", "Leave out what matches", |d, v| {
        d.rules.push(Given::Exclude(v.as_bytes().to_vec()));
        Ok(())
    }),
    list("exclude-from", "FILE", "Read exclude patterns from a file", |d, v| {
        d.rules.push(Given::ExcludeFrom(rule_file(&d.circumstances, v)?));
        Ok(())
    }),
    on("cvs-exclude", "Leave out what CVS leaves out", |d, on| {
        if on {
            d.rules.push(Given::CvsExclude);
        }
    })
    .short('C'),
    row(
        "F",
        Form::Letter,
        "Obey .rsync-filter files; twice: and leave them out",
        Effect::Switch(|d, _| d.rules.push(Given::PerDirFilter(1))),
    ),
    // Deleting.
    switch("delete", "Delete from targets what the source has not [default]", |d, on| {
        d.delete = on
    }),
    value(
        "max-delete",
        "N|N%|none",
        "Pause a target rather than delete more than this [default: 50%]",
        max_delete,
    ),
    // When.
    value(
        "settle",
        "TIME",
        "Send a file that stays open for writing after this [default: 1s]",
        |d, v| {
            d.settle = duration(v)?;
            Ok(())
        },
    ),
    value(
        "poll-interval",
        "TIME",
        "Compare directories that cannot be watched this often [default: 30s]",
        poll_interval,
    ),
    value(
        "backend",
        "NAME",
        "Learn of changes by fanotify, inotify or poll [default: auto]",
        backend,
    ),
    value(
        "schedule",
        "CRON",
        "Run a full pass at these times too, e.g. '30 3 * * *' or '30 3 * * * Europe/Berlin'",
        |d, v| {
            d.schedule = Some(schedule(v)?);
            Ok(())
        },
    ),
    value(
        "verify",
        "CRON",
        "Compare targets by checksum at these times, and report what differs",
        |d, v| {
            d.verify = Some(schedule(v)?);
            Ok(())
        },
    ),
    // Access.
    value("password-file", "FILE", "Read the daemons' password from a file", |d, v| {
        d.password_file = Some(d.circumstances.absolute(v));
        Ok(())
    }),
    // What is preserved.
    switch("archive", "Short for -rlptgoD [default]", archive).short('a'),
    on("recursive", "Descend into directories; a mirror always does", |_, _| {}).short('r'),
    switch("links", "Symbolic links as such [default]", |d, on| d.options.links = on).short('l'),
    switch("perms", "Permissions [default]", |d, on| d.options.perms = on).short('p'),
    switch("times", "Modification times [default]", |d, on| d.options.times = on).short('t'),
    switch("omit-dir-times", "Leave directories out of --times", |d, on| {
        d.options.omit_dir_times = on;
    })
    .short('O'),
    switch("omit-link-times", "Leave symbolic links out of --times", |d, on| {
        d.options.omit_link_times = on;
    })
    .short('J'),
    switch("owner", "Owners [default]", |d, on| d.options.owner = on).short('o'),
    switch("group", "Groups [default]", |d, on| d.options.group = on).short('g'),
    switch("devices", "Device files [default]", |d, on| d.options.devices = on),
    switch("specials", "FIFOs and sockets [default]", |d, on| d.options.specials = on),
    row(
        "D",
        Form::Letter,
        "Short for --devices --specials [default]",
        Effect::Switch(|d, on| {
            d.options.devices = on;
            d.options.specials = on;
        }),
    ),
    switch("hard-links", "Hard links", |d, on| d.options.hard_links = on).short('H'),
    switch("acls", "ACLs; implies --perms", |d, on| {
        d.options.metadata.acls = on;
        d.options.perms |= on;
    })
    .short('A'),
    switch("xattrs", "Extended attributes", |d, on| d.options.metadata.xattrs = u8::from(on))
        .short('X'),
    switch("numeric-ids", "Owners and groups by number, not by name", |d, on| {
        d.options.numeric_ids = on;
    }),
    list("chmod", "CHANGES", "Change permissions on the way, like Du+rwx,go-w", chmod),
    // How data travels.
    switch("whole-file", "Send files whole, without looking for parts that are there", |d, on| {
        d.options.whole_file = Some(on);
    })
    .short('W'),
    value("block-size", "SIZE", "Length of the blocks that are looked for", block_size).short('B'),
    switch("compress", "Compress on the way", |d, on| match (on, d.options.compress) {
        (true, CompressChoice::Off) => d.options.compress = CompressChoice::Negotiate,
        (true, _) => {}
        (false, _) => d.options.compress = CompressChoice::Off,
    })
    .short('z'),
    value(
        "compress-choice",
        "NAME",
        "auto, zstd, lz4, zlibx, zlib or none; implies --compress",
        compress_choice,
    )
    .aliases(&["zc"]),
    value("compress-level", "N", "Level of the compression; implies --compress", compress_level)
        .aliases(&["zl"]),
    on("new-compress", "Short for --compress-choice=zlibx", |d, on| {
        if on {
            d.options.compress = CompressChoice::Zlibx;
        }
    }),
    on("old-compress", "Short for --compress-choice=zlib", |d, on| {
        if on {
            d.options.compress = CompressChoice::Zlib;
        }
    }),
    value(
        "checksum-choice",
        "NAME",
        "auto, xxh128, xxh3, xxh64, md5, md4 or sha1",
        checksum_choice,
    )
    .aliases(&["cc"]),
    value("checksum-seed", "N", "Fixed seed of block checksums", |d, v| {
        d.options.checksum_seed = Some(number(v)?);
        Ok(())
    }),
    value("bwlimit", "RATE", "Send at most this much a second, in KiB or with a unit", bwlimit),
    value("timeout", "TIME", "Give a connection up after silence of this length", |d, v| {
        d.options.timeout = nonzero(duration(v)?);
        Ok(())
    }),
    value("contimeout", "TIME", "Give an attempt to connect up after this", |d, v| {
        d.options.connect_timeout = nonzero(duration(v)?);
        Ok(())
    }),
    value("address", "ADDRESS", "Connect from this local address", |d, v| {
        d.options.bind_address = Some(number(v)?);
        Ok(())
    }),
    value("protocol", "N", "Highest protocol to offer: 30, 31 or 32 [default: 32]", protocol),
    // How targets write.
    switch("sparse", "Holes where files have runs of zeros", |d, on| d.options.sparse = on)
        .short('S'),
    on("fsync", "Targets write each file to disk before it replaces the old one", |d, on| {
        d.options.fsync = on;
    }),
    // Options of rsync's that mirrors do not have yet; refused by name.
    not_yet("executability", Form::On).short('E'),
    not_yet("atimes", Form::Switch).short('U'),
    not_yet("crtimes", Form::Switch).short('N'),
    not_yet("usermap", ANY),
    not_yet("groupmap", ANY),
    not_yet("chown", ANY),
    not_yet("super", Form::Switch),
    not_yet("fake-super", Form::On),
    not_yet("drop-D", Form::Switch),
    not_yet("copy-as", ANY),
    not_yet("iconv", ANY),
    not_yet("no-iconv", Form::On),
    not_yet("copy-links", Form::On).short('L'),
    not_yet("copy-dirlinks", Form::On).short('k'),
    not_yet("keep-dirlinks", Form::On).short('K'),
    not_yet("copy-unsafe-links", Form::On),
    not_yet("safe-links", Form::On),
    not_yet("munge-links", Form::Switch),
    not_yet("insecure-links", Form::Switch),
    not_yet("confine-root", ANY),
    not_yet("inc-recursive", Form::Switch).aliases(&["i-r"]),
    not_yet("dirs", Form::Switch).short('d'),
    not_yet("old-dirs", Form::On).aliases(&["old-d"]),
    not_yet("relative", Form::Switch).short('R'),
    not_yet("implied-dirs", Form::Switch).aliases(&["i-d"]),
    not_yet("files-from", ANY),
    not_yet("from0", Form::Switch).short('0'),
    not_yet("existing", Form::On).aliases(&["ignore-non-existing"]),
    not_yet("ignore-existing", Form::On),
    not_yet("update", Form::On).short('u'),
    not_yet("size-only", Form::On),
    not_yet("ignore-times", Form::On).short('I'),
    not_yet("modify-window", ANY).short('@'),
    not_yet("checksum", Form::Switch),
    not_yet("max-size", ANY),
    not_yet("min-size", ANY),
    not_yet("one-file-system", Form::Switch).short('x'),
    not_yet("prune-empty-dirs", Form::Switch).short('m'),
    not_yet("list-only", Form::On),
    not_yet("dry-run", Form::On).short('n'),
    not_yet("ignore-missing-args", Form::On),
    not_yet("delete-missing-args", Form::On),
    not_yet("fuzzy", Form::Switch).short('y'),
    not_yet("mkpath", Form::Switch),
    not_yet("qsort", Form::On),
    not_yet("inplace", Form::Switch),
    not_yet("append", Form::Switch),
    not_yet("append-verify", Form::On),
    not_yet("partial", Form::Switch),
    not_yet("partial-dir", ANY),
    not_yet("delay-updates", Form::Switch),
    not_yet("temp-dir", ANY).short('T'),
    row("P", Form::Letter, "", Effect::NotYet),
    not_yet("preallocate", Form::On),
    not_yet("compress-threads", ANY).aliases(&["zt"]),
    not_yet("skip-compress", ANY),
    not_yet("no-bwlimit", Form::On),
    not_yet("remove-source-files", Form::On).aliases(&["remove-sent-files"]),
    not_yet("copy-devices", Form::On),
    not_yet("write-devices", Form::Switch),
    not_yet("open-noatime", Form::Switch),
    not_yet("max-alloc", ANY),
    not_yet("delete-before", Form::On),
    not_yet("delete-during", Form::On).aliases(&["del"]),
    not_yet("delete-delay", Form::On),
    not_yet("delete-after", Form::On),
    not_yet("delete-excluded", Form::On),
    not_yet("force", Form::Switch),
    not_yet("ignore-errors", Form::Switch),
    not_yet("backup", Form::Switch).short('b'),
    not_yet("suffix", ANY),
    not_yet("backup-dir", ANY),
    not_yet("compare-dest", ANY),
    not_yet("copy-dest", ANY),
    not_yet("link-dest", ANY),
    not_yet("rsh", ANY).short('e'),
    not_yet("rsync-path", ANY),
    not_yet("remote-option", ANY).short('M'),
    not_yet("old-args", Form::Switch),
    not_yet("secluded-args", Form::Switch).short('s').aliases(&["protect-args"]),
    not_yet("trust-sender", Form::On),
    not_yet("blocking-io", Form::Switch),
    not_yet("port", ANY),
    not_yet("sockopts", ANY),
    not_yet("ipv4", Form::On).short('4'),
    not_yet("ipv6", Form::On).short('6'),
    not_yet("early-input", ANY),
    not_yet("no-timeout", Form::On),
    not_yet("no-contimeout", Form::On),
    not_yet("motd", Form::Switch),
    not_yet("stop-after", ANY).aliases(&["time-limit"]),
    not_yet("stop-at", ANY),
    not_yet("stats", Form::On),
    not_yet("human-readable", Form::Switch),
    not_yet("progress", Form::Switch),
    not_yet("info", ANY),
    not_yet("debug", ANY),
    not_yet("itemize-changes", Form::Switch).short('i'),
    not_yet("out-format", ANY),
    not_yet("log-file", ANY),
    not_yet("log-file-format", ANY),
    not_yet("8-bit-output", Form::Switch).short('8'),
    not_yet("outbuf", ANY),
    not_yet("stderr", ANY),
    not_yet("msgs2stderr", Form::Switch),
    not_yet("write-batch", ANY),
    not_yet("only-write-batch", ANY),
    not_yet("read-batch", ANY),
    not_yet("daemon", Form::On),
];
