//! The one table of rsync's options.
//!
//! A row is an option with all its spellings, what it takes, what it does and one line of help.
//! Parsing, help, manual page, completions and a daemon's `refuse options` are made from it. Rows
//! stand in the order of the help.

use driftless_filter::Given;
use driftless_transfer::options::{
    AddressFamily, AlternateKind, Append, DebugLevels, DeleteWhen, InfoLevels, MissingArgs,
    RemoveSource, StderrMode,
};

use super::Usage;
use super::effects::{
    BLOCK_SIZE, BLOCK_SIZE_OLD, BWLIMIT, add_alternate, add_chmod, chown, count, group_map, levels,
    max_alloc, outbuf, per_dir_filter, positive_secs, protocol, remote_option, size, stderr_mode,
    user_map,
};
use super::typed::{LevelHelp, Recurse, Typed};

/// One option.
#[derive(Debug)]
pub struct Flag {
    /// Without dashes; empty where there is only a letter.
    pub long: &'static str,
    /// The letter.
    pub short: Option<u8>,
    /// Other long names.
    pub aliases: &'static [&'static str],
    /// Long names that undo it.
    pub negations: &'static [&'static str],
    /// What it takes, and what it does.
    pub take: Take,
    /// Name of its value in the help; empty without one.
    pub value: &'static str,
    /// One line; empty for what the help does not show.
    pub help: &'static str,
    /// The chapter of the manual it belongs to.
    pub group: Group,
    /// A daemon refuses it by its exact name only, never by a wildcard.
    pub exact_refusal: bool,
}

/// What an option takes.
#[derive(Debug, Clone, Copy)]
pub enum Take {
    /// Nothing. `true` for the option, `false` for a negation.
    Switch(fn(&mut Typed, bool)),
    /// Text.
    Text(fn(&mut Typed, &[u8]) -> Result<(), Usage>),
    /// A whole number.
    Number(fn(&mut Typed, i32) -> Result<(), Usage>),
}

/// Chapters of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Group {
    /// What is copied.
    Selection,
    /// How content travels and lands.
    Transfer,
    /// What else a file has.
    Metadata,
    /// Symbolic links.
    Links,
    /// What is removed.
    Deletion,
    /// Old versions, other places to look.
    Backup,
    /// How the other side is reached.
    Connection,
    /// What is printed.
    Output,
    /// Between the programs.
    Internal,
}

impl Group {
    /// The chapter's heading.
    pub fn title(self) -> &'static str {
        match self {
            Self::Selection => "What is copied",
            Self::Transfer => "How content travels",
            Self::Metadata => "Attributes",
            Self::Links => "Symbolic links",
            Self::Deletion => "Deletion",
            Self::Backup => "Old versions and other places",
            Self::Connection => "Connection",
            Self::Output => "Output",
            Self::Internal => "Internal",
        }
    }
}

impl Flag {
    const fn short(mut self, letter: u8) -> Self {
        self.short = Some(letter);
        self
    }

    const fn aka(mut self, aliases: &'static [&'static str]) -> Self {
        self.aliases = aliases;
        self
    }

    const fn no(mut self, negations: &'static [&'static str]) -> Self {
        self.negations = negations;
        self
    }

    const fn exact(mut self) -> Self {
        self.exact_refusal = true;
        self
    }

    /// As rsync names it in messages: `--name`, or `-X`.
    pub fn shown(&self) -> String {
        match (self.long, self.short) {
            ("", Some(letter)) => format!("-{}", char::from(letter)),
            (long, _) => format!("--{long}"),
        }
    }

    /// All long spellings that turn it on.
    pub fn long_names(&self) -> impl Iterator<Item = &'static str> {
        let own = (!self.long.is_empty()).then_some(self.long);
        own.into_iter().chain(self.aliases.iter().copied())
    }
}

const fn row(group: Group, long: &'static str, take: Take, help: &'static str) -> Flag {
    Flag {
        long,
        short: None,
        aliases: &[],
        negations: &[],
        take,
        value: "",
        help,
        group,
        exact_refusal: false,
    }
}

const fn on(
    group: Group,
    long: &'static str,
    set: fn(&mut Typed, bool),
    help: &'static str,
) -> Flag {
    row(group, long, Take::Switch(set), help)
}

const fn text(
    group: Group,
    long: &'static str,
    value: &'static str,
    take: fn(&mut Typed, &[u8]) -> Result<(), Usage>,
    help: &'static str,
) -> Flag {
    let mut flag = row(group, long, Take::Text(take), help);
    flag.value = value;
    flag
}

const fn number(
    group: Group,
    long: &'static str,
    value: &'static str,
    take: fn(&mut Typed, i32) -> Result<(), Usage>,
    help: &'static str,
) -> Flag {
    let mut flag = row(group, long, Take::Number(take), help);
    flag.value = value;
    flag
}

/// All options of rsync 3.5.0.
pub static FLAGS: &[Flag] = &[
    on(Group::Output, "verbose", |t, on| count(&mut t.options.talk.verbosity, on), "say more")
        .short(b'v')
        .no(&["no-verbose", "no-v"]),
    text(
        Group::Output,
        "info",
        "FLAGS",
        |t, words| levels(words, InfoLevels::WORDS, "info", LevelHelp::Info, &mut t.info, &mut t.level_help),
        "choose single kinds of information (help lists them)",
    ),
    text(
        Group::Output,
        "debug",
        "FLAGS",
        |t, words| levels(words, DebugLevels::WORDS, "debug", LevelHelp::Debug, &mut t.debug, &mut t.level_help),
        "choose single kinds of tracing (help lists them)",
    ),
    text(Group::Output, "stderr", "e|a|c", stderr_mode, "what goes to standard error (default: errors)"),
    on(Group::Output, "quiet", |t, _| t.options.talk.quiet = true, "print errors only").short(b'q'),
    on(Group::Output, "motd", |t, on| t.connect.no_motd = !on, "").no(&["no-motd"]),
    on(Group::Selection, "checksum", |t, on| t.options.update.checksum = on, "compare by digest, not by time and size")
        .short(b'c')
        .no(&["no-checksum", "no-c"]),
    on(Group::Selection, "archive", |t, _| archive(t), "keep almost everything: -rlptgoD (not -A, -X, -U, -N, -H)")
        .short(b'a'),
    on(
        Group::Selection,
        "recursive",
        |t, on| t.recurse = if on { Recurse::Yes } else { Recurse::No },
        "go into directories",
    )
    .short(b'r')
    .no(&["no-recursive", "no-r"]),
    on(
        Group::Selection,
        "inc-recursive",
        |t, on| t.options.selection.inc_recursive = on,
        "list directories while others are copied (default)",
    )
    .aka(&["i-r"])
    .no(&["no-inc-recursive", "no-i-r"]),
    on(Group::Selection, "relative", |t, on| t.relative = Some(on), "keep the whole paths of the arguments")
        .short(b'R')
        .no(&["no-relative", "no-R"]),
    on(
        Group::Selection,
        "implied-dirs",
        |t, on| t.options.selection.implied_dirs = on,
        "with --relative, keep the attributes of parents (default)",
    )
    .aka(&["i-d"])
    .no(&["no-implied-dirs", "no-i-d"]),
    on(Group::Backup, "backup", |t, on| t.backup = on, "keep old versions (see --suffix, --backup-dir)")
        .short(b'b')
        .no(&["no-backup"]),
    text(
        Group::Backup,
        "backup-dir",
        "DIR",
        |t, dir| set(&mut t.backup_dir, dir),
        "keep old versions below DIR",
    ),
    text(
        Group::Backup,
        "suffix",
        "SUFFIX",
        |t, suffix| set(&mut t.suffix, suffix),
        "ending of old versions (default ~ without --backup-dir)",
    ),
    on(Group::Selection, "update", |t, _| t.options.update.update = true, "leave newer files at the destination alone")
        .short(b'u'),
    on(Group::Transfer, "inplace", |t, on| t.options.write.inplace = on, "write into the files themselves")
        .no(&["no-inplace"]),
    on(
        Group::Transfer,
        "append",
        |t, on| {
            // A client passes --append-verify on as two of these.
            let again = t.server && t.options.write.append != Append::Off;
            t.options.write.append = match on {
                true if again => Append::Verifying,
                true => Append::Trusting,
                false => Append::Off,
            };
        },
        "only add to shorter files",
    )
    .no(&["no-append"]),
    on(
        Group::Transfer,
        "append-verify",
        |t, _| t.options.write.append = Append::Verifying,
        "as --append, and verify what was there",
    ),
    on(
        Group::Selection,
        "dirs",
        |t, on| {
            t.options.selection.dirs_given = Some(on);
            t.old_dirs = false;
        },
        "copy directories without going into them",
    )
    .short(b'd')
    .no(&["no-dirs", "no-d"]),
    on(
        Group::Selection,
        "old-dirs",
        |t, _| t.old_dirs = true,
        "as --dirs, for very old programs on the other side",
    )
    .aka(&["old-d"]),
    on(Group::Transfer, "mkpath", |t, on| t.options.write.mkpath = on, "create missing parents of the destination")
        .no(&["no-mkpath"]),
    on(Group::Links, "links", |t, on| t.options.links = on, "copy symbolic links as such")
        .short(b'l')
        .no(&["no-links", "no-l"]),
    on(Group::Links, "copy-links", |t, _| t.options.link.copy_all = true, "copy what symbolic links lead to")
        .short(b'L'),
    on(
        Group::Links,
        "copy-unsafe-links",
        |t, _| t.options.link.copy_unsafe = true,
        "copy what links out of the tree lead to",
    ),
    on(Group::Links, "safe-links", |t, _| t.options.link.safe = true, "leave out links that lead out of the tree"),
    on(
        Group::Links,
        "insecure-links",
        |t, on| t.options.link.insecure = on,
        "follow anybody's links in the paths you give",
    )
    .no(&["no-insecure-links"]),
    text(
        Group::Links,
        "confine-root",
        "DIR",
        |t, dir| set(&mut t.options.link.confine_root, dir),
        "refuse given paths that lead out of DIR",
    ),
    on(Group::Links, "munge-links", |t, on| t.options.link.munge = on, "store links so that they lead nowhere")
        .no(&["no-munge-links"]),
    on(
        Group::Links,
        "copy-dirlinks",
        |t, _| t.options.link.copy_dirlinks = true,
        "copy the directories that links lead to",
    )
    .short(b'k'),
    on(
        Group::Links,
        "keep-dirlinks",
        |t, _| t.options.link.keep_dirlinks = true,
        "at the destination, take a link to a directory for one",
    )
    .short(b'K'),
    on(Group::Metadata, "hard-links", hard_links, "keep hard links")
        .short(b'H')
        .no(&["no-hard-links", "no-H"]),
    on(Group::Metadata, "perms", |t, on| t.options.perms = on, "keep permissions")
        .short(b'p')
        .no(&["no-perms", "no-p"]),
    on(
        Group::Metadata,
        "executability",
        |t, _| t.options.metadata.executability = true,
        "keep whether a file can be executed",
    )
    .short(b'E'),
    text(Group::Metadata, "chmod", "CHMOD", add_chmod, "change permissions on the way"),
    on(
        Group::Metadata,
        "acls",
        |t, on| {
            t.options.metadata.acls = on;
            t.options.perms |= on;
        },
        "keep access control lists (implies --perms)",
    )
    .short(b'A')
    .no(&["no-acls", "no-A"]),
    on(
        Group::Metadata,
        "xattrs",
        |t, on| count_to(&mut t.options.metadata.xattrs, on, 2),
        "keep extended attributes",
    )
    .short(b'X')
    .no(&["no-xattrs", "no-X"]),
    on(Group::Metadata, "owner", |t, on| t.options.owner = on, "keep owners (super-user only)")
        .short(b'o')
        .no(&["no-owner", "no-o"]),
    on(Group::Metadata, "group", |t, on| t.options.group = on, "keep groups")
        .short(b'g')
        .no(&["no-group", "no-g"]),
    on(Group::Metadata, "devices", |t, on| t.options.devices = on, "keep device nodes (super-user only)")
        .no(&["no-devices"]),
    on(Group::Transfer, "copy-devices", |t, _| t.options.read.copy_devices = true, "copy what devices hold")
        .exact(),
    on(
        Group::Transfer,
        "write-devices",
        |t, on| t.options.write.write_devices = on,
        "write into devices (implies --inplace)",
    )
    .no(&["no-write-devices"])
    .exact(),
    on(Group::Metadata, "specials", |t, on| t.options.specials = on, "keep fifos and sockets")
        .no(&["no-specials"]),
    on(
        Group::Metadata,
        "drop-D",
        |t, on| t.options.metadata.drop_devices = on,
        "make neither devices nor specials at the destination",
    )
    .no(&["no-drop-D"]),
    on(
        Group::Metadata,
        "",
        |t, on| {
            t.options.devices = on;
            t.options.specials = on;
        },
        "same as --devices --specials",
    )
    .short(b'D')
    .no(&["no-D"]),
    on(Group::Metadata, "times", |t, on| t.options.times = on, "keep modification times")
        .short(b't')
        .no(&["no-times", "no-t"]),
    on(
        Group::Metadata,
        "atimes",
        |t, on| {
            count_to(&mut t.options.metadata.atimes, on, 2);
            t.options.read.open_noatime |= t.options.metadata.atimes > 1;
        },
        "keep access times",
    )
    .short(b'U')
    .no(&["no-atimes", "no-U"]),
    on(
        Group::Metadata,
        "open-noatime",
        |t, on| t.options.read.open_noatime = on,
        "read without moving access times",
    )
    .no(&["no-open-noatime"]),
    on(Group::Metadata, "crtimes", |t, on| t.options.metadata.crtimes = on, "keep times of creation")
        .short(b'N')
        .no(&["no-crtimes", "no-N"]),
    on(Group::Metadata, "omit-dir-times", |t, on| t.options.omit_dir_times = on, "no --times for directories")
        .short(b'O')
        .no(&["no-omit-dir-times", "no-O"]),
    on(Group::Metadata, "omit-link-times", |t, on| t.options.omit_link_times = on, "no --times for symbolic links")
        .short(b'J')
        .no(&["no-omit-link-times", "no-J"]),
    on(
        Group::Metadata,
        "super",
        |t, on| {
            t.options.metadata.super_user = Some(on);
            t.options.metadata.fake_super = false;
        },
        "at the destination, try what only the super-user may",
    )
    .no(&["no-super"]),
    on(
        Group::Metadata,
        "fake-super",
        |t, _| {
            t.options.metadata.fake_super = true;
            t.options.metadata.super_user = None;
        },
        "keep the super-user's attributes in extended ones",
    ),
    on(Group::Transfer, "sparse", |t, on| t.options.sparse = on, "make holes of zeros")
        .short(b'S')
        .no(&["no-sparse", "no-S"]),
    on(Group::Transfer, "preallocate", |t, _| t.options.write.preallocate = true, "allocate files before they are written"),
    on(Group::Selection, "dry-run", |t, _| t.options.dry_run = true, "show what would be done, change nothing")
        .short(b'n')
        .exact(),
    on(Group::Transfer, "whole-file", |t, on| t.options.whole_file = Some(on), "copy files whole, without deltas")
        .short(b'W')
        .no(&["no-whole-file", "no-W"]),
    text(
        Group::Transfer,
        "checksum-choice",
        "STR",
        |t, name| set(&mut t.checksum_choice, name),
        "which digests to use (also --cc)",
    )
    .aka(&["cc"]),
    on(
        Group::Selection,
        "one-file-system",
        |t, on| count_to(&mut t.options.selection.one_file_system, on, 2),
        "stay on the file system of each argument",
    )
    .short(b'x')
    .no(&["no-one-file-system", "no-x"]),
    text(
        Group::Transfer,
        "block-size",
        "SIZE",
        |t, value| {
            let rule = if t.options.protocol < 30 { &BLOCK_SIZE_OLD } else { &BLOCK_SIZE };
            let len = rule.parse(value)?;
            t.options.block_size = u32::try_from(len).ok().filter(|len| *len > 0);
            Ok(())
        },
        "length of the blocks of deltas",
    )
    .short(b'B'),
    text(Group::Connection, "rsh", "COMMAND", |t, word| set(&mut t.connect.rsh, word), "the remote shell")
        .short(b'e')
        .exact(),
    text(
        Group::Connection,
        "rsync-path",
        "PROGRAM",
        |t, word| set(&mut t.connect.rsync_path, word),
        "the program on the remote machine",
    ),
    on(
        Group::Selection,
        "existing",
        |t, _| t.options.update.existing = true,
        "create nothing new at the destination",
    )
    .aka(&["ignore-non-existing"]),
    on(
        Group::Selection,
        "ignore-existing",
        |t, _| t.options.update.ignore_existing = true,
        "leave files alone that exist at the destination",
    ),
    on(
        Group::Deletion,
        "remove-source-files",
        |t, _| t.options.delete.remove_source = RemoveSource::Same,
        "remove source files (no directories) once they are copied",
    ),
    on(
        Group::Deletion,
        "remove-sent-files",
        |t, _| t.options.delete.remove_source = RemoveSource::Sent,
        "",
    ),
    on(Group::Deletion, "delete", |t, _| t.delete = true, "delete what the source does not have"),
    on(Group::Deletion, "delete-before", |t, _| t.delete_when(DeleteWhen::Before), "delete before the transfer"),
    on(Group::Deletion, "delete-during", |t, _| t.delete_when(DeleteWhen::During), "delete during the transfer (also --del)")
        .aka(&["del"]),
    on(Group::Deletion, "delete-delay", |t, _| t.delete_when(DeleteWhen::Delay), "find during, delete after the transfer"),
    on(Group::Deletion, "delete-after", |t, _| t.delete_when(DeleteWhen::After), "delete after the transfer"),
    on(
        Group::Deletion,
        "delete-excluded",
        |t, _| t.options.delete.excluded = true,
        "delete what filters exclude, too",
    ),
    on(
        Group::Selection,
        "ignore-missing-args",
        |t, _| {
            if t.options.selection.missing_args == MissingArgs::Error {
                t.options.selection.missing_args = MissingArgs::Ignore;
            }
        },
        "a source that is not there is no error",
    ),
    on(
        Group::Deletion,
        "delete-missing-args",
        |t, _| t.options.selection.missing_args = MissingArgs::Delete,
        "delete at the destination what is not there as a source",
    ),
    on(
        Group::Deletion,
        "ignore-errors",
        |t, on| t.options.delete.ignore_errors = on,
        "delete although something could not be read",
    )
    .no(&["no-ignore-errors"]),
    on(Group::Deletion, "force", |t, on| t.options.delete.force = on, "a file may replace a full directory")
        .no(&["no-force"]),
    number(Group::Deletion, "max-delete", "NUM", |t, n| put(&mut t.max_delete, Some(n)), "delete at most NUM names"),
    text(
        Group::Selection,
        "max-size",
        "SIZE",
        |t, value| size("max-size", value, &mut t.options.update.max_size),
        "leave out larger files",
    ),
    text(
        Group::Selection,
        "min-size",
        "SIZE",
        |t, value| size("min-size", value, &mut t.options.update.min_size),
        "leave out smaller files",
    ),
    text(Group::Transfer, "max-alloc", "SIZE", max_alloc, "most memory in one piece"),
    on(Group::Transfer, "partial", |t, on| t.options.write.partial = on, "keep what an interruption leaves of a file")
        .no(&["no-partial"]),
    text(
        Group::Transfer,
        "partial-dir",
        "DIR",
        |t, dir| set(&mut t.options.write.partial_dir, dir),
        "keep it in DIR",
    ),
    on(
        Group::Transfer,
        "delay-updates",
        |t, on| t.options.delay_updates = on,
        "put all files in place at the end",
    )
    .no(&["no-delay-updates"]),
    on(
        Group::Selection,
        "prune-empty-dirs",
        |t, on| t.options.selection.prune_empty_dirs = on,
        "leave out directories without files below them",
    )
    .short(b'm')
    .no(&["no-prune-empty-dirs", "no-m"]),
    on(Group::Metadata, "numeric-ids", |t, on| t.options.numeric_ids = on, "take users and groups by number")
        .no(&["no-numeric-ids"]),
    text(Group::Metadata, "usermap", "STRING", user_map, "owners to change on the way"),
    text(Group::Metadata, "groupmap", "STRING", group_map, "groups to change on the way"),
    text(Group::Metadata, "chown", "USER:GROUP", chown, "one owner and group for everything"),
    number(
        Group::Connection,
        "timeout",
        "SECONDS",
        |t, secs| put(&mut t.options.timeout, positive_secs(secs)),
        "longest silence of the other side",
    ),
    on(Group::Connection, "no-timeout", |t, _| t.options.timeout = None, ""),
    number(
        Group::Connection,
        "contimeout",
        "SECONDS",
        |t, secs| put(&mut t.options.connect_timeout, positive_secs(secs)),
        "longest wait for a daemon's connection",
    ),
    on(Group::Connection, "no-contimeout", |t, _| t.options.connect_timeout = None, ""),
    on(Group::Selection, "ignore-times", |t, _| t.options.update.ignore_times = true, "no file is equal by size and time")
        .short(b'I'),
    on(Group::Selection, "size-only", |t, _| t.options.update.size_only = true, "files of equal size are equal"),
    number(
        Group::Selection,
        "modify-window",
        "NUM",
        |t, secs| put(&mut t.options.modify_window, secs),
        "times are equal within NUM seconds; -1 counts nanoseconds",
    )
    .short(b'@'),
    text(
        Group::Transfer,
        "temp-dir",
        "DIR",
        |t, dir| set(&mut t.options.temp_dir, dir),
        "write temporary files in DIR",
    )
    .short(b'T'),
    on(
        Group::Transfer,
        "fuzzy",
        |t, on| count_to(&mut t.options.update.fuzzy, on, 2),
        "build a missing file from a similar one",
    )
    .short(b'y')
    .no(&["no-fuzzy", "no-y"]),
    text(
        Group::Backup,
        "compare-dest",
        "DIR",
        |t, dir| add_alternate(t, AlternateKind::Compare, dir),
        "also compare with files below DIR",
    ),
    text(
        Group::Backup,
        "copy-dest",
        "DIR",
        |t, dir| add_alternate(t, AlternateKind::Copy, dir),
        "... and copy those that are equal",
    ),
    text(
        Group::Backup,
        "link-dest",
        "DIR",
        |t, dir| add_alternate(t, AlternateKind::Link, dir),
        "... and hard-link those that are equal",
    ),
    on(
        Group::Transfer,
        "compress",
        |t, on| {
            count(&mut t.compress, on);
            if !on {
                t.compress_choice = None;
            }
        },
        "compress on the way",
    )
    .short(b'z')
    .no(&["no-compress", "no-z"]),
    on(Group::Transfer, "old-compress", |t, _| t.compress_choice = Some(b"zlib".to_vec()), ""),
    on(Group::Transfer, "new-compress", |t, _| t.compress_choice = Some(b"zlibx".to_vec()), ""),
    text(
        Group::Transfer,
        "compress-choice",
        "STR",
        |t, name| set(&mut t.compress_choice, name),
        "how to compress (also --zc)",
    )
    .aka(&["zc"]),
    number(
        Group::Transfer,
        "compress-level",
        "NUM",
        |t, level| put(&mut t.options.compress_level, Some(level)),
        "how hard to compress (also --zl)",
    )
    .aka(&["zl"]),
    number(
        Group::Transfer,
        "compress-threads",
        "NUM",
        |t, count| put(&mut t.options.compress_threads, Some(u32::try_from(count).unwrap_or(0))),
        "threads that compress (also --zt)",
    )
    .aka(&["zt"]),
    text(
        Group::Transfer,
        "skip-compress",
        "LIST",
        |t, list| set(&mut t.options.limit.skip_compress, list),
        "suffixes of files that do not shrink",
    ),
    on(
        Group::Selection,
        "cvs-exclude",
        |t, _| {
            t.options.selection.cvs_exclude = true;
            t.rules.push(Given::CvsExclude);
        },
        "leave out what CVS leaves out",
    )
    .short(b'C'),
    text(Group::Selection, "filter", "RULE", |t, rule| push(t, Given::Filter(rule.to_vec())), "add a filter rule")
        .short(b'f'),
    on(Group::Selection, "", per_dir_filter, "rules of directories: --filter='dir-merge /.rsync-filter'\nrepeated: --filter='- .rsync-filter'")
        .short(b'F'),
    text(Group::Selection, "exclude", "PATTERN", |t, rule| push(t, Given::Exclude(rule.to_vec())), "leave out what matches PATTERN"),
    text(
        Group::Selection,
        "exclude-from",
        "FILE",
        |t, name| push(t, Given::ExcludeFrom(name.to_vec())),
        "patterns to leave out, from FILE",
    ),
    text(Group::Selection, "include", "PATTERN", |t, rule| push(t, Given::Include(rule.to_vec())), "do not leave out what matches PATTERN"),
    text(
        Group::Selection,
        "include-from",
        "FILE",
        |t, name| push(t, Given::IncludeFrom(name.to_vec())),
        "patterns not to leave out, from FILE",
    ),
    text(Group::Selection, "files-from", "FILE", |t, name| set(&mut t.files_from, name), "names to copy, from FILE"),
    on(Group::Selection, "from0", from0, "names and rules in files end in NUL")
        .short(b'0')
        .no(&["no-from0"])
        .exact(),
    on(
        Group::Connection,
        "old-args",
        |t, on| t.old_args = Some(if on { t.old_args.unwrap_or(0).saturating_add(1).min(2) } else { 0 }),
        "let the remote shell split arguments",
    )
    .no(&["no-old-args"]),
    on(
        Group::Connection,
        "secluded-args",
        |t, on| t.secluded_args = Some(on),
        "send arguments through the protocol",
    )
    .short(b's')
    .aka(&["protect-args"])
    .no(&["no-secluded-args", "no-protect-args", "no-s"])
    .exact(),
    on(Group::Connection, "trust-sender", |t, _| t.options.trust_sender = true, "take the sender's list unchecked"),
    text(
        Group::Metadata,
        "copy-as",
        "USER[:GROUP]",
        |t, who| set(&mut t.options.metadata.copy_as, who),
        "copy as another user",
    ),
    text(Group::Connection, "address", "ADDRESS", |t, name| set(&mut t.connect.address, name), "local address of connections to daemons"),
    number(
        Group::Connection,
        "port",
        "PORT",
        |t, port| put(&mut t.connect.port, u16::try_from(port).ok().filter(|port| *port > 0)),
        "the daemon's port",
    ),
    text(
        Group::Connection,
        "sockopts",
        "OPTIONS",
        |t, list| set(&mut t.connect.socket_options, list),
        "options of sockets",
    ),
    on(
        Group::Connection,
        "blocking-io",
        |t, on| t.connect.blocking_io = Some(on),
        "blocking I/O for the remote shell",
    )
    .no(&["no-blocking-io"]),
    text(Group::Output, "outbuf", "N|L|B", outbuf, "how standard output is buffered: none, line, block"),
    on(Group::Output, "stats", |t, _| t.options.talk.stats = true, "print figures at the end"),
    on(Group::Output, "8-bit-output", |t, on| t.output.eight_bit = on, "print bytes above 127 as they are")
        .short(b'8')
        .no(&["no-8-bit-output", "no-8"]),
    on(
        Group::Output,
        "human-readable",
        |t, on| count(&mut t.output.human, on),
        "numbers with units",
    )
    .short(b'h')
    .no(&["no-human-readable", "no-h"]),
    on(Group::Output, "progress", |t, on| t.progress = on, "show how far each file is").no(&["no-progress"]),
    on(
        Group::Output,
        "",
        |t, _| {
            t.options.write.partial = true;
            t.progress = true;
        },
        "same as --partial --progress",
    )
    .short(b'P'),
    on(Group::Output, "itemize-changes", |t, on| count(&mut t.itemize, on), "say what changes about each file")
        .short(b'i')
        .no(&["no-itemize-changes", "no-i"]),
    text(Group::Connection, "remote-option", "OPT", remote_option, "an option for the other side only").short(b'M'),
    text(Group::Output, "out-format", "FORMAT", |t, format| set(&mut t.output.format, format), "how changed files are printed")
        .aka(&["log-format"])
        .exact(),
    text(Group::Output, "log-file", "FILE", |t, name| set(&mut t.output.log_file, name), "write a log to FILE"),
    text(
        Group::Output,
        "log-file-format",
        "FMT",
        |t, format| set(&mut t.output.log_file_format, format),
        "how changed files are logged",
    ),
    text(
        Group::Connection,
        "password-file",
        "FILE",
        |t, name| put(&mut t.connect.password_file, Some(path(name))),
        "the password for a daemon, from FILE",
    ),
    text(
        Group::Connection,
        "early-input",
        "FILE",
        |t, name| put(&mut t.connect.early_input, Some(path(name))),
        "input for a daemon's early command",
    ),
    on(
        Group::Selection,
        "list-only",
        |t, _| {
            t.options.selection.list_only = true;
            t.options.selection.list_only_given = true;
        },
        "list, copy nothing",
    ),
    text(
        Group::Connection,
        "bwlimit",
        "RATE",
        |t, rate| {
            let bytes = BWLIMIT.parse(rate)?;
            // Kept in KiB, rounded to the nearest.
            t.options.bwlimit = (bytes > 0).then_some((bytes.saturating_add(512) / 1024) * 1024);
            Ok(())
        },
        "most KiB per second on the connection",
    ),
    on(Group::Connection, "no-bwlimit", |t, _| t.options.bwlimit = None, ""),
    number(Group::Connection, "stop-after", "MINS", |t, mins| put(&mut t.stop_after, Some(mins)), "stop after MINS minutes")
        .aka(&["time-limit"]),
    text(Group::Connection, "stop-at", "y-m-dTh:m", |t, time| set(&mut t.stop_at, time), "stop at that local time"),
    on(Group::Transfer, "fsync", |t, _| t.options.fsync = true, "sync every written file"),
    text(Group::Output, "write-batch", "FILE", |t, name| set(&mut t.batch.write, name), "also write the changes to FILE"),
    text(
        Group::Output,
        "only-write-batch",
        "FILE",
        |t, name| set(&mut t.batch.only_write, name),
        "write the changes to FILE only",
    ),
    text(Group::Output, "read-batch", "FILE", |t, name| set(&mut t.batch.read, name), "apply the changes in FILE"),
    number(Group::Connection, "protocol", "NUM", protocol, "speak an older protocol"),
    text(Group::Metadata, "iconv", "CONVERT_SPEC", |t, spec| set(&mut t.iconv, spec), "convert the encoding of names")
        .exact(),
    on(Group::Metadata, "no-iconv", |t, _| t.iconv = Some(b"-".to_vec()), "").exact(),
    number(
        Group::Transfer,
        "checksum-seed",
        "NUM",
        |t, seed| put(&mut t.options.checksum_seed, (seed != 0).then_some(seed)),
        "seed of digests",
    )
    .exact(),
    on(Group::Connection, "ipv4", |t, _| t.connect.address_family = Some(AddressFamily::V4), "use IPv4").short(b'4'),
    on(Group::Connection, "ipv6", |t, _| t.connect.address_family = Some(AddressFamily::V6), "use IPv6").short(b'6'),
    on(Group::Output, "version", |t, _| t.version = t.version.saturating_add(1), "print version and abilities (-VV: as JSON)")
        .short(b'V'),
    on(Group::Output, "help", |t, _| t.help = true, "print this help (-h only where it stands alone)"),
    on(
        Group::Output,
        "msgs2stderr",
        |t, on| t.options.talk.stderr = if on { StderrMode::All } else { StderrMode::Client },
        "",
    )
    .no(&["no-msgs2stderr"]),
    // The original's client tells it to its server by a name that no server of the original knows.
    on(Group::Internal, "qsort", |t, _| t.options.selection.inc_recursive = false, "")
        .aka(&["use-qsort"]),
    on(Group::Internal, "server", |t, _| t.server = true, "").exact(),
    on(Group::Internal, "sender", |t, _| t.sender = true, "").exact(),
    on(Group::Internal, "daemon", |t, _| t.daemon_option = true, ""),
    text(Group::Internal, "config", "FILE", |t, _| put(&mut t.daemon_option, true), ""),
    text(Group::Internal, "dparam", "OVERRIDE", |t, _| put(&mut t.daemon_option, true), ""),
    on(Group::Internal, "detach", |t, _| t.daemon_option = true, "").no(&["no-detach"]),
];

fn set(field: &mut Option<Vec<u8>>, value: &[u8]) -> Result<(), Usage> {
    *field = Some(value.to_vec());
    Ok(())
}

fn put<T>(field: &mut T, value: T) -> Result<(), Usage> {
    *field = value;
    Ok(())
}

/// Names end in NUL wherever it stands, rules in the files named behind it.
fn from0(typed: &mut Typed, on: bool) {
    typed.options.selection.from0 = on;
    typed.rules.push(Given::From0(on));
}

fn push(typed: &mut Typed, rule: Given) -> Result<(), Usage> {
    typed.rules.push(rule);
    Ok(())
}

fn path(name: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(name).into()
}

fn count_to(field: &mut u8, on: bool, most: u8) {
    count(field, on);
    *field = (*field).min(most);
}

fn archive(typed: &mut Typed) {
    if typed.recurse == Recurse::No {
        typed.recurse = Recurse::Archive;
    }
    let options = &mut typed.options;
    for field in [
        &mut options.links,
        &mut options.perms,
        &mut options.times,
        &mut options.group,
        &mut options.owner,
        &mut options.devices,
        &mut options.specials,
    ] {
        *field = true;
    }
}

fn hard_links(typed: &mut Typed, on: bool) {
    let options = &mut typed.options;
    options.hard_links_twice = on && options.hard_links;
    options.hard_links = on;
}
