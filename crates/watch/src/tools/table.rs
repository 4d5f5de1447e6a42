//! What is watched: a compact tree from watch descriptor to parent and name.
//!
//! Names lie in one arena, so that a watched directory costs some forty bytes; paths are computed when
//! they are printed, so that renaming a directory is one change whatever is below it.
//!
//! Invariants
//! * The map from watch descriptors and the descriptors in the nodes are inverse.
//! * Children of a node are linked in the order in which they were added.
//! * A node without a descriptor has children; with its last child it goes.
//!
//! Nothing here touches the disk.

use rustc_hash::FxHashMap;

/// A place in the table; free places are used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);

impl Node {
    fn index(self) -> usize {
        self.0 as usize
    }
}

const NONE: u32 = u32::MAX;
const NO_WATCH: i32 = -1;

#[derive(Debug)]
struct Slot {
    parent: u32,
    first: u32,
    last: u32,
    next: u32,
    before: u32,
    wd: i32,
    name_at: u32,
    name_len: u16,
    alive: bool,
    /// Its watch lacks the events that our own listing would cause.
    reduced: bool,
}

/// The watched objects.
#[derive(Debug)]
pub struct Table {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_wd: FxHashMap<i32, u32>,
    names: Vec<u8>,
    /// Bytes of `names` that no node uses.
    wasted: usize,
    renamed: u64,
}

impl Table {
    /// An empty table.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_wd: FxHashMap::default(),
            names: Vec::new(),
            wasted: 0,
            renamed: 0,
        }
    }

    /// Changes whenever the path of some node may have become another.
    pub fn version(&self) -> u64 {
        self.renamed
    }

    /// The number of watches.
    pub fn len(&self) -> usize {
        self.by_wd.len()
    }

    /// All nodes, in no useful order.
    pub fn nodes(&self) -> impl Iterator<Item = Node> + '_ {
        let alive = self.slots.iter().enumerate().filter(|(_, slot)| slot.alive);
        alive.map(|(index, _)| Node(index as u32))
    }

    /// The node of a watch descriptor.
    pub fn by_wd(&self, wd: i32) -> Option<Node> {
        self.by_wd.get(&wd).copied().map(Node)
    }

    /// Its watch descriptor.
    pub fn wd(&self, node: Node) -> Option<i32> {
        Some(self.slot(node).wd).filter(|&wd| wd != NO_WATCH)
    }

    /// What it lies in; nothing for what was given on the command line.
    pub fn parent(&self, node: Node) -> Option<Node> {
        Some(self.slot(node).parent).filter(|&parent| parent != NONE).map(Node)
    }

    /// What was given on the command line and has led to it.
    pub fn root(&self, node: Node) -> Node {
        let mut at = node;
        while let Some(parent) = self.parent(at) {
            at = parent;
        }
        at
    }

    /// Its name: for what was given on the command line all that is printed of it.
    pub fn name(&self, node: Node) -> &[u8] {
        let slot = self.slot(node);
        &self.names[slot.name_at as usize..][..usize::from(slot.name_len)]
    }

    /// Whether it is in the table.
    pub fn is_alive(&self, node: Node) -> bool {
        self.slots.get(node.index()).is_some_and(|slot| slot.alive)
    }

    /// Whether its watch lacks events that our own listing would cause.
    pub fn is_reduced(&self, node: Node) -> bool {
        self.slot(node).reduced
    }

    /// Says whether its watch lacks events that our own listing would cause.
    pub fn set_reduced(&mut self, node: Node, reduced: bool) {
        self.slots[node.index()].reduced = reduced;
    }

    /// Adds a watched object at the end of its parent's children.
    ///
    /// # Panics
    /// When the descriptor has a node already.
    pub fn add(&mut self, parent: Option<Node>, name: &[u8], wd: i32) -> Node {
        assert!(!self.by_wd.contains_key(&wd), "the caller has looked for the descriptor");
        let name_at = self.store(name);
        let slot = Slot {
            parent: NONE,
            first: NONE,
            last: NONE,
            next: NONE,
            before: NONE,
            wd,
            name_at,
            name_len: u16::try_from(name.len()).expect("paths are shorter than 64 KiB"),
            alive: true,
            reduced: false,
        };
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                u32::try_from(self.slots.len() - 1).expect("fewer than 2^32 watches")
            }
        };
        self.by_wd.insert(wd, index);
        if let Some(parent) = parent {
            self.link(index, parent.0);
        }
        Node(index)
    }

    /// The child of that name; the newest, when the end of an older one is still to be told.
    pub fn child(&self, parent: Node, name: &[u8]) -> Option<Node> {
        let mut at = self.slot(parent).last;
        while at != NONE && self.name(Node(at)) != name {
            at = self.slots[at as usize].before;
        }
        Some(Node(at)).filter(|_| at != NONE)
    }

    /// The children in the order in which they were added.
    pub fn children(&self, parent: Node) -> impl Iterator<Item = Node> + '_ {
        let mut next = self.slot(parent).first;
        std::iter::from_fn(move || {
            let found = Some(next).filter(|&index| index != NONE)?;
            next = self.slots[found as usize].next;
            Some(Node(found))
        })
    }

    /// Appends what is printed of it: with a slash at the end when it is a directory.
    pub fn write_path(&self, node: Node, out: &mut Vec<u8>) {
        match self.parent(node) {
            None => out.extend_from_slice(self.name(node)),
            Some(parent) => {
                self.write_path(parent, out);
                out.extend_from_slice(self.name(node));
                out.push(b'/');
            }
        }
    }

    /// Gives it another place and name.
    ///
    /// Nothing happens when the place is below itself, which only stale news can claim.
    pub fn relocate(&mut self, node: Node, parent: Node, name: &[u8]) {
        if self.is_within(parent, node) {
            return;
        }
        self.renamed += 1;
        self.unlink(node.0);
        self.wasted += usize::from(self.slot(node).name_len);
        let name_at = self.store(name);
        let slot = &mut self.slots[node.index()];
        slot.name_at = name_at;
        slot.name_len = u16::try_from(name.len()).expect("names are shorter than 256 bytes");
        self.link(node.0, parent.0);
    }

    /// Forgets the watch of a node, and the node when nothing is below it.
    pub fn forget_watch(&mut self, node: Node) {
        let slot = &mut self.slots[node.index()];
        self.by_wd.remove(&slot.wd);
        slot.wd = NO_WATCH;
        self.prune(node);
    }

    /// Takes a node with all below it out of the table and returns their watch descriptors.
    pub fn remove(&mut self, top: Node) -> Vec<i32> {
        let mut wds = Vec::new();
        let parent = self.parent(top);
        self.unlink(top.0);
        let mut doomed = vec![top];
        while let Some(node) = doomed.pop() {
            doomed.extend(self.children(node));
            if let Some(wd) = self.wd(node) {
                self.by_wd.remove(&wd);
                wds.push(wd);
            }
            self.release(node);
        }
        if let Some(parent) = parent {
            self.prune(parent);
        }
        wds
    }

    /// Whether `node` is `top` or below it.
    pub fn is_within(&self, node: Node, top: Node) -> bool {
        let mut at = Some(node);
        while let Some(node) = at {
            if node == top {
                return true;
            }
            at = self.parent(node);
        }
        false
    }

    /// Nodes in the order of a walk that visits children before their directory.
    pub fn children_first(&self) -> Vec<Node> {
        let mut order = Vec::with_capacity(self.len());
        let mut roots: Vec<Node> =
            self.nodes().filter(|&node| self.parent(node).is_none()).collect();
        roots.sort();
        for root in roots {
            let start = order.len();
            let mut stack = vec![root];
            // Directory before children, children reversed: the reverse of what is wanted.
            while let Some(node) = stack.pop() {
                order.push(node);
                stack.extend(self.children(node));
            }
            order[start..].reverse();
        }
        order
    }

    fn slot(&self, node: Node) -> &Slot {
        &self.slots[node.index()]
    }

    fn store(&mut self, name: &[u8]) -> u32 {
        if self.wasted > 4096 && self.wasted > self.names.len() / 2 {
            self.compact();
        }
        let at = u32::try_from(self.names.len()).expect("names of all watches fit 4 GiB");
        self.names.extend_from_slice(name);
        at
    }

    fn compact(&mut self) {
        let mut names = Vec::with_capacity(self.names.len() - self.wasted);
        for slot in self.slots.iter_mut().filter(|slot| slot.alive) {
            let name = &self.names[slot.name_at as usize..][..usize::from(slot.name_len)];
            slot.name_at = u32::try_from(names.len()).expect("not longer than before");
            names.extend_from_slice(name);
        }
        self.names = names;
        self.wasted = 0;
    }

    fn link(&mut self, index: u32, parent: u32) {
        let last = std::mem::replace(&mut self.slots[parent as usize].last, index);
        match last {
            NONE => self.slots[parent as usize].first = index,
            last => self.slots[last as usize].next = index,
        }
        let slot = &mut self.slots[index as usize];
        (slot.parent, slot.before, slot.next) = (parent, last, NONE);
    }

    fn unlink(&mut self, index: u32) {
        let slot = &mut self.slots[index as usize];
        let (parent, before, next) = (slot.parent, slot.before, slot.next);
        (slot.parent, slot.before, slot.next) = (NONE, NONE, NONE);
        if parent == NONE {
            return;
        }
        match before {
            NONE => self.slots[parent as usize].first = next,
            before => self.slots[before as usize].next = next,
        }
        match next {
            NONE => self.slots[parent as usize].last = before,
            next => self.slots[next as usize].before = before,
        }
    }

    fn release(&mut self, node: Node) {
        self.renamed += 1;
        let slot = &mut self.slots[node.index()];
        slot.alive = false;
        slot.first = NONE;
        slot.last = NONE;
        self.wasted += usize::from(slot.name_len);
        self.free.push(node.0);
    }

    /// Lets go of nodes that have neither watch nor children, from here upwards.
    fn prune(&mut self, node: Node) {
        let mut at = Some(node);
        while let Some(node) = at {
            let slot = self.slot(node);
            if slot.wd != NO_WATCH || slot.first != NONE {
                return;
            }
            at = self.parent(node);
            self.unlink(node.0);
            self.release(node);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(table: &Table, wd: i32) -> String {
        let mut out = Vec::new();
        table.write_path(table.by_wd(wd).unwrap(), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn three_levels() -> (Table, Node, Node, Node) {
        let mut table = Table::new();
        let root = table.add(None, b"d/", 1);
        let sub = table.add(Some(root), b"sub", 2);
        let leaf = table.add(Some(sub), b"leaf", 3);
        (table, root, sub, leaf)
    }

    #[test]
    fn a_renamed_directory_takes_what_is_below_it_along() {
        let (mut table, root, sub, _) = three_levels();
        assert_eq!(path(&table, 3), "d/sub/leaf/");
        table.relocate(sub, root, b"moved");
        assert_eq!(path(&table, 3), "d/moved/leaf/");
        assert_eq!(table.child(root, b"moved"), Some(sub));
        assert_eq!(table.child(root, b"sub"), None);
    }

    #[test]
    fn nothing_is_put_below_itself() {
        let (mut table, _, sub, leaf) = three_levels();
        table.relocate(sub, leaf, b"x");
        assert_eq!(path(&table, 3), "d/sub/leaf/");
    }

    #[test]
    fn removing_a_directory_gives_all_descriptors_below() {
        let (mut table, root, sub, _) = three_levels();
        let mut wds = table.remove(sub);
        wds.sort_unstable();
        assert_eq!(wds, [2, 3]);
        assert_eq!((table.len(), table.children(root).count()), (1, 0));
        let again = table.add(Some(root), b"again", 4);
        assert_eq!(path(&table, 4), "d/again/");
        assert!(table.is_alive(again));
    }

    #[test]
    fn a_node_without_watch_stays_while_something_is_below_it() {
        let (mut table, root, sub, leaf) = three_levels();
        table.forget_watch(sub);
        assert_eq!(path(&table, 3), "d/sub/leaf/");
        table.forget_watch(leaf);
        assert!(!table.is_alive(sub) && table.is_alive(root));
    }

    #[test]
    fn names_are_kept_when_the_arena_is_compacted() {
        let mut table = Table::new();
        let root = table.add(None, b"d/", 0);
        for wd in 1..2000 {
            let node = table.add(Some(root), format!("name{wd}").as_bytes(), wd);
            if wd % 10 != 0 {
                table.forget_watch(node);
            }
        }
        assert_eq!(table.len(), 200);
        assert!((1..200).all(|n| path(&table, n * 10) == format!("d/name{}/", n * 10)));
        assert!(table.names.len() < 8_000, "{}", table.names.len());
    }

    #[test]
    fn children_come_before_their_directory() {
        let (mut table, root, sub, leaf) = three_levels();
        let second = table.add(Some(root), b"z", 9);
        let other = table.add(None, b"e/", 10);
        assert_eq!(table.children_first(), [leaf, sub, second, root, other]);
    }
}
