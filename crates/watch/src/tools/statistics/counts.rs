//! What was counted, and the table of it.

use crate::tools::layout::write_json_string;
use crate::tools::names;

use super::sorting::Sorting;

/// The columns in their order.
const COLUMNS: [(u32, &str); 13] = [
    (names::ACCESS, "access"),
    (names::MODIFY, "modify"),
    (names::ATTRIB, "attrib"),
    (names::CLOSE_WRITE, "close_write"),
    (names::CLOSE_NOWRITE, "close_nowrite"),
    (names::OPEN, "open"),
    (names::MOVED_FROM, "moved_from"),
    (names::MOVED_TO, "moved_to"),
    (names::MOVE_SELF, "move_self"),
    (names::CREATE, "create"),
    (names::DELETE, "delete"),
    (names::DELETE_SELF, "delete_self"),
    (names::UNMOUNT, "unmount"),
];

/// The counts of one watch, or of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    total: u64,
    columns: [u64; COLUMNS.len()],
}

impl Counts {
    /// Counts an event: once in the total, once in the column of each of its bits.
    pub fn add(&mut self, mask: u32) {
        self.total += 1;
        for (count, (bits, _)) in self.columns.iter_mut().zip(COLUMNS) {
            if mask & bits != 0 {
                *count += 1;
            }
        }
    }

    /// The number of events with one of these bits, or of all.
    pub fn of(&self, event: Option<u32>) -> u64 {
        let Some(event) = event else { return self.total };
        let columns = self.columns.iter().zip(COLUMNS);
        columns.filter(|(_, (bits, _))| event & bits != 0).map(|(count, _)| count).sum()
    }

    /// Whether nothing was counted.
    pub fn is_zero(&self) -> bool {
        self.total == 0
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What is printed of the watched object.
    pub path: Vec<u8>,
    /// Its counts.
    pub counts: Counts,
}

/// The table's form.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// The events that were asked for.
    pub events: u32,
    /// Whether zeros are printed.
    pub zero: bool,
    /// The order of the rows.
    pub sorting: Sorting,
}

/// Writes rows, which are in the order of their watches, as a table.
pub fn table(mut rows: Vec<Row>, all: &Counts, form: &Form) -> Vec<u8> {
    let shown: Vec<usize> = (0..COLUMNS.len())
        .filter(|&at| COLUMNS[at].0 & form.events != 0 && (form.zero || all.columns[at] > 0))
        .collect();
    let mut out = b"total  ".to_vec();
    for &at in &shown {
        out.extend_from_slice(COLUMNS[at].1.as_bytes());
        out.extend_from_slice(b"  ");
    }
    out.extend_from_slice(b"filename\n");
    rows.retain(|row| form.zero || !row.counts.is_zero());
    form.sorting.sort(&mut rows, |row, event| row.counts.of(event));
    for row in rows {
        out.extend_from_slice(format!("{:<5}  ", row.counts.total).as_bytes());
        for &at in &shown {
            let width = COLUMNS[at].1.len();
            out.extend_from_slice(format!("{:<width$}  ", row.counts.columns[at]).as_bytes());
        }
        out.extend_from_slice(&row.path);
        out.push(b'\n');
    }
    out
}

/// Writes the same as one JSON object on a line.
pub fn json(mut rows: Vec<Row>, all: &Counts, form: &Form) -> Vec<u8> {
    rows.retain(|row| form.zero || !row.counts.is_zero());
    form.sorting.sort(&mut rows, |row, event| row.counts.of(event));
    let mut out = b"{".to_vec();
    write_counts(all, form, &mut out);
    out.extend_from_slice(b",\"files\":[");
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"filename\":");
        write_json_string(&row.path, &mut out);
        if std::str::from_utf8(&row.path).is_err() {
            use base64::Engine;
            let exact = base64::engine::general_purpose::STANDARD.encode(&row.path);
            out.extend_from_slice(format!(",\"filename_base64\":\"{exact}\"").as_bytes());
        }
        out.push(b',');
        write_counts(&row.counts, form, &mut out);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}\n");
    out
}

fn write_counts(counts: &Counts, form: &Form, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("\"total\":{}", counts.total).as_bytes());
    for (count, (bits, name)) in counts.columns.iter().zip(COLUMNS) {
        if bits & form.events != 0 {
            out.extend_from_slice(format!(",\"{name}\":{count}").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, masks: &[u32]) -> Row {
        let mut counts = Counts::default();
        masks.iter().for_each(|mask| counts.add(*mask));
        Row { path: path.into(), counts }
    }

    fn written(rows: &[Row], zero: bool) -> String {
        let mut all = Counts::default();
        all.add(names::CREATE);
        all.add(names::CLOSE_WRITE | names::MODIFY);
        let form = Form { events: names::ALL, zero, sorting: Sorting::default() };
        String::from_utf8(table(rows.to_vec(), &all, &form)).unwrap()
    }

    #[test]
    fn columns_without_events_are_left_out() {
        let rows = [
            row("d/", &[names::CREATE]),
            row("zero/", &[]),
            row("e/", &[names::CREATE, names::CLOSE_WRITE | names::MODIFY]),
        ];
        assert_eq!(
            written(&rows, false),
            "total  modify  close_write  create  filename\n\
             2      1       1            1       e/\n\
             1      0       0            1       d/\n"
        );
        let all = written(&rows, true);
        assert_eq!(all.lines().count(), 4);
        assert!(all.starts_with("total  access  modify") && !all.contains("unmount"), "{all}");
    }
}
