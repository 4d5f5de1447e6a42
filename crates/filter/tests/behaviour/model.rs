//! A small model of a local transfer, enough to run the recorded scenarios.
//!
//! Beyond filters it models what the scenarios' outcomes depend on: which directories are
//! candidates for deletion, `-m`, `-b` (a deleted name goes to `NAME~`), `--max-size` (the name stays
//! in the list), `--files-from`, `--delete-missing-args`, `-l`, `-L`, and when `--delete-after` looks.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::Arc;

use driftless_filter::{Chain, Given, ParseOptions, ReadFile, RuleError, Rules, Side};
use driftless_tree::RelPath;

pub const ROOT: &str = "/R";

#[derive(Clone, PartialEq, Debug)]
pub enum Node {
    Dir,
    File(String),
    Link(String),
}

/// All files of the world by absolute path.
#[derive(Clone, Default)]
pub struct World(pub BTreeMap<String, Node>);

impl World {
    pub fn add(&mut self, path: &str, content: &str) {
        let trimmed = path.trim_end_matches('/');
        for (at, _) in trimmed.match_indices('/').filter(|&(at, _)| at > 0) {
            self.0.entry(trimmed[..at].to_string()).or_insert(Node::Dir);
        }
        let node = match content.strip_prefix("->") {
            _ if path.ends_with('/') => Node::Dir,
            Some(target) => Node::Link(target.to_string()),
            None => Node::File(content.to_string()),
        };
        self.0.insert(trimmed.to_string(), node);
    }

    fn children(&self, dir: &str) -> Vec<String> {
        let start = format!("{dir}/");
        self.0
            .keys()
            .filter_map(|path| path.strip_prefix(&start))
            .filter(|rest| !rest.contains('/'))
            .map(str::to_string)
            .collect()
    }

    /// The node, through links when they are followed.
    fn node(&self, path: &str, follow: bool) -> Option<(String, Node)> {
        match self.0.get(path)? {
            Node::Link(target) if follow => {
                let dir = &path[..path.rfind('/')?];
                self.node(&format!("{dir}/{target}"), follow)
            }
            node => Some((path.to_string(), node.clone())),
        }
    }
}

struct Reader<'w> {
    world: &'w World,
    base: &'w str,
}

impl ReadFile for Reader<'_> {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let path = String::from_utf8(path.to_vec()).unwrap();
        let path = if path.starts_with('/') { path } else { format!("{}/{path}", self.base) };
        Ok(match self.world.0.get(&path) {
            Some(Node::File(text)) => Some(text.clone().into_bytes()),
            _ => None,
        })
    }
}

#[derive(Default)]
struct Command {
    given: Vec<Given>,
    short: BTreeSet<char>,
    long: BTreeSet<String>,
    max_size: Option<usize>,
    files_from: Option<String>,
    args: Vec<String>,
}

impl Command {
    fn parse(args: &[String]) -> Self {
        let mut command = Self::default();
        let mut args = args.iter();
        let mut tail = Vec::new();
        while let Some(arg) = args.next() {
            let bytes = |text: &str| text.as_bytes().to_vec();
            if let Some(long) = arg.strip_prefix("--") {
                match long.split_once('=') {
                    Some(("exclude", text)) => command.given.push(Given::Exclude(bytes(text))),
                    Some(("include", text)) => command.given.push(Given::Include(bytes(text))),
                    Some(("exclude-from", f)) => command.given.push(Given::ExcludeFrom(bytes(f))),
                    Some(("include-from", f)) => command.given.push(Given::IncludeFrom(bytes(f))),
                    Some(("files-from", file)) => command.files_from = Some(file.to_string()),
                    Some(("max-size", size)) => command.max_size = Some(size.parse().unwrap()),
                    Some(("partial-dir", dir)) => {
                        tail.push(Given::Filter(format!("-p {dir}/").into_bytes()));
                    }
                    Some(other) => panic!("unknown option {other:?}"),
                    None => {
                        command.long.insert(long.to_string());
                    }
                }
            } else if arg == "-f" {
                command.given.push(Given::Filter(bytes(args.next().unwrap())));
            } else if let Some(letters) = arg.strip_prefix('-') {
                for letter in letters.chars() {
                    match letter {
                        'F' => command.given.push(Given::PerDirFilter(1)),
                        'C' => command.given.push(Given::CvsExclude),
                        '0' => command.given.push(Given::From0(true)),
                        'a' => command.short.extend(['r', 'l']),
                        _ => {
                            command.short.insert(letter);
                        }
                    }
                }
            } else {
                command.args.push(arg.clone());
            }
        }
        if command.has('b') && command.deletes() && !command.long.contains("delete-excluded") {
            command.given.push(Given::Filter(b"P *~".to_vec()));
        }
        command.given.append(&mut tail);
        if command.long.contains("old-dirs") {
            command.short.insert('r');
            command.given.push(Given::Filter(b"- /*/*".to_vec()));
        }
        if command.files_from.is_some() {
            command.short.extend(['R', 'd']);
            // A list of names does not recurse because -a was given.
            command.short.remove(&'r');
        }
        command
    }

    fn has(&self, letter: char) -> bool {
        self.short.contains(&letter)
    }

    fn deletes(&self) -> bool {
        self.long.iter().any(|o| o.starts_with("delete") && o != "delete-missing-args")
    }
}

/// What the sender lists.
#[derive(Default)]
struct FileList {
    /// Name to its node, with links followed where they are.
    names: BTreeMap<String, Node>,
    /// Directories whose content is listed; "" is the root.
    complete: BTreeSet<String>,
    missing: Vec<String>,
}

/// What became of a scenario.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub dst: Vec<String>,
    pub deleted: Vec<String>,
}

struct Run<'c> {
    command: &'c Command,
    rules: Rules,
    world: World,
    list: FileList,
    deleted: Vec<String>,
}

/// Runs `rsync ARGS` with the working directory `/R`.
pub fn run(
    args: &[String],
    world: World,
    cvsignore: Option<Vec<u8>>,
) -> Result<Outcome, RuleError> {
    let command = Command::parse(args);
    let options = ParseOptions {
        delete_excluded: command.long.contains("delete-excluded"),
        from0: false,
        protocol: 32,
        root: ROOT.as_bytes().to_vec(),
        home_cvsignore: None,
        cvsignore,
    };
    let rules = Rules::parse(&command.given, &options, &mut Reader { world: &world, base: ROOT })?;
    let mut run =
        Run { command: &command, rules, world, list: FileList::default(), deleted: Vec::new() };
    run.list_sources()?;
    if command.has('m') {
        run.prune()?;
    }
    if command.long.contains("delete-after") {
        run.transfer();
        run.delete()?;
    } else {
        run.delete()?;
        run.transfer();
    }
    let start = format!("{ROOT}/dst/");
    let mut dst: Vec<String> = run
        .world
        .0
        .iter()
        .filter_map(|(path, node)| Some(listed(path.strip_prefix(&start)?, node)))
        .collect();
    dst.sort();
    run.deleted.sort();
    Ok(Outcome { dst, deleted: run.deleted })
}

fn listed(name: &str, node: &Node) -> String {
    format!("{name}{}", if *node == Node::Dir { "/" } else { "" })
}

fn join(dir: &str, name: &str) -> String {
    if dir.is_empty() { name.to_string() } else { format!("{dir}/{name}") }
}

fn rel(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).unwrap()
}

impl Run<'_> {
    fn chain(&self, root: &str, side: Side) -> Result<Chain, RuleError> {
        let rules = Arc::new(self.rules.with_root(root.as_bytes()));
        Chain::root(rules, side, &mut Reader { world: &self.world, base: root })
    }

    fn list_sources(&mut self) -> Result<(), RuleError> {
        let (_, sources) = self.command.args.split_last().unwrap();
        if let Some(list) = &self.command.files_from {
            let Some(Node::File(text)) = self.world.0.get(&format!("{ROOT}/{list}")).cloned()
            else {
                panic!("no list of files");
            };
            let root = format!("{ROOT}/{}", sources[0].trim_end_matches('/'));
            return text.lines().try_for_each(|name| self.list_arg(&root, name, false));
        }
        for arg in sources {
            let contents = arg.ends_with('/');
            let arg = arg.trim_end_matches('/');
            let (dir, name) = match arg.split_once("/./") {
                Some((dir, name)) => (dir, name),
                None if self.command.has('R') => ("", arg),
                None if contents => (arg, ""),
                None => arg.rsplit_once('/').unwrap_or(("", arg)),
            };
            let root = join(ROOT, dir);
            self.list_arg(root.trim_end_matches('/'), name, contents)?;
        }
        Ok(())
    }

    fn list_arg(&mut self, root: &str, name: &str, contents: bool) -> Result<(), RuleError> {
        let chain = self.chain(root, Side::Sender)?;
        if name.is_empty() {
            return self.list_dir(root, "", &chain);
        }
        let follow = self.command.has('L');
        let Some((_, node)) = self.world.node(&format!("{root}/{name}"), follow) else {
            self.list.missing.push(name.to_string());
            return Ok(());
        };
        let excluded = chain.check(name.as_bytes(), node == Node::Dir).is_excluded();
        if excluded && !contents {
            return Ok(());
        }
        for dir in rel(name).ancestors() {
            self.list.names.insert(dir.to_string(), Node::Dir);
        }
        self.list_entry(root, name, &chain)
    }

    fn list_entry(&mut self, root: &str, name: &str, chain: &Chain) -> Result<(), RuleError> {
        let follow = self.command.has('L');
        let (path, node) = self.world.node(&format!("{root}/{name}"), follow).unwrap();
        if matches!(node, Node::Link(_)) && !self.command.has('l') {
            return Ok(());
        }
        self.list.names.insert(name.to_string(), node.clone());
        if node == Node::Dir && self.command.has('r') {
            assert!(path == format!("{root}/{name}"), "linked directories are not descended");
            let mut reader = Reader { world: &self.world, base: root };
            let chain = chain.enter(&rel(name), &mut reader)?;
            self.list_dir(root, name, &chain)?;
        }
        Ok(())
    }

    fn list_dir(&mut self, root: &str, dir: &str, chain: &Chain) -> Result<(), RuleError> {
        self.list.complete.insert(dir.to_string());
        for child in self.world.children(join(root, dir).trim_end_matches('/')) {
            let name = join(dir, &child);
            let (_, node) =
                self.world.node(&format!("{root}/{name}"), self.command.has('L')).unwrap();
            if !chain.check(name.as_bytes(), node == Node::Dir).is_excluded() {
                self.list_entry(root, &name, chain)?;
            }
        }
        Ok(())
    }

    /// Takes empty directories out of the list, except what the receiver protects.
    fn prune(&mut self) -> Result<(), RuleError> {
        let chain = self.chain(&format!("{ROOT}/dst"), Side::Receiver)?;
        let dirs: Vec<String> = self
            .list
            .names
            .iter()
            .filter(|(_, node)| **node == Node::Dir)
            .map(|(name, _)| name.clone())
            .rev()
            .collect();
        for dir in dirs {
            let start = format!("{dir}/");
            let empty = !self.list.names.keys().any(|name| name.starts_with(&start));
            if empty && !chain.check(dir.as_bytes(), true).is_excluded() {
                self.list.names.remove(&dir);
            }
        }
        Ok(())
    }

    fn transfer(&mut self) {
        for (name, node) in &self.list.names {
            if let (Node::File(text), Some(max)) = (node, self.command.max_size)
                && text.len() > max
            {
                continue;
            }
            self.world.0.insert(format!("{ROOT}/dst/{name}"), node.clone());
        }
    }

    fn delete(&mut self) -> Result<(), RuleError> {
        let chain = self.chain(&format!("{ROOT}/dst"), Side::Receiver)?;
        if self.command.deletes() && self.list.complete.contains("") {
            self.delete_in("", &chain)?;
        } else if self.command.deletes() {
            self.delete_below("", &chain)?;
        }
        if self.command.long.contains("delete-missing-args") {
            for name in self.list.missing.clone() {
                if !chain.check(name.as_bytes(), false).is_excluded() {
                    self.remove(&name);
                }
            }
        }
        Ok(())
    }

    fn enter(&self, chain: &Chain, dir: &str) -> Result<Chain, RuleError> {
        let base = format!("{ROOT}/dst");
        chain.enter(&rel(dir), &mut Reader { world: &self.world, base: &base })
    }

    /// Deletes in a directory whose content was listed, then in those below it.
    fn delete_in(&mut self, dir: &str, chain: &Chain) -> Result<(), RuleError> {
        for child in self.world.children(join(&format!("{ROOT}/dst"), dir).trim_end_matches('/')) {
            let name = join(dir, &child);
            if self.list.names.contains_key(&name) {
                continue;
            }
            let node = self.world.0[&format!("{ROOT}/dst/{name}")].clone();
            if chain.check(name.as_bytes(), node == Node::Dir).is_excluded() {
                continue;
            }
            self.delete_name(&name, &node, chain)?;
        }
        self.delete_below(dir, chain)
    }

    fn delete_below(&mut self, dir: &str, chain: &Chain) -> Result<(), RuleError> {
        for child in self.world.children(join(&format!("{ROOT}/dst"), dir).trim_end_matches('/')) {
            let name = join(dir, &child);
            if self.list.names.get(&name) != Some(&Node::Dir) {
                continue;
            }
            let inner = self.enter(chain, &name)?;
            if self.list.complete.contains(&name) {
                self.delete_in(&name, &inner)?;
            } else {
                self.delete_below(&name, &inner)?;
            }
        }
        Ok(())
    }

    fn delete_name(&mut self, name: &str, node: &Node, chain: &Chain) -> Result<(), RuleError> {
        if *node == Node::Dir {
            let inner = self.enter(chain, name)?;
            for child in self.world.children(&format!("{ROOT}/dst/{name}")) {
                let name = join(name, &child);
                let node = self.world.0[&format!("{ROOT}/dst/{name}")].clone();
                if !inner.check_in_deleted(name.as_bytes(), node == Node::Dir).is_excluded() {
                    self.delete_name(&name, &node, &inner)?;
                }
            }
            if !self.world.children(&format!("{ROOT}/dst/{name}")).is_empty() {
                return Ok(());
            }
        }
        self.remove(name);
        Ok(())
    }

    fn remove(&mut self, name: &str) {
        let path = format!("{ROOT}/dst/{name}");
        let node = self.world.0.remove(&path).unwrap();
        self.deleted.push(listed(name, &node));
        if self.command.has('b') && node != Node::Dir && !name.ends_with('~') {
            self.world.0.insert(format!("{path}~"), node);
        }
    }
}
