//! The rows of a table, to be compared with what they are later.
use crate::{Cluster, Name, Result};
use std::collections::BTreeMap;
use std::fmt;

/// All rows of a table at one moment, in the memory of this process.
///
/// Rows that are the same are counted, and their order does not matter. For large tables, and several at one moment,
/// there is [`Cluster::snapshots`].
///
/// ```
/// # let server = pgsteward::testing::TestServer::start()?;
/// # let cluster = pgsteward::Cluster::connect(&server.dsn())?;
/// use pgsteward::testing::TableRows;
///
/// cluster.execute("CREATE TABLE item (id int)", &[])?;
/// let before = TableRows::read(&cluster, "item")?;
/// cluster.execute("INSERT INTO item VALUES (7)", &[])?;
/// let difference = before.compare(&cluster)?;
/// assert_eq!(difference.to_string(), "public.item: 0 rows gone, 1 new\n+ {\"id\":7}\n");
/// # Ok::<(), pgsteward::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableRows {
    table: Name,
    /// Each row as JSON, and how many times it is there.
    rows: BTreeMap<String, u64>,
}

/// What has become of the rows of a table. `Display` prints each row on a line, after `-` or `+`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RowsDifference {
    /// The table.
    pub table: Name,
    /// Rows that are not there any more, as JSON, and how many of each.
    pub gone: Vec<(String, u64)>,
    /// Rows that were not there, as JSON, and how many of each.
    pub new: Vec<(String, u64)>,
}

impl TableRows {
    /// Reads a table, with its partitions and the tables that inherit from it, or a view.
    ///
    /// # Errors
    /// [`Error::Server`](crate::Error::Server) if there is no such table.
    pub fn read(cluster: &Cluster, table: impl Into<Name>) -> Result<Self> {
        let table = table.into();
        // A column may have the name that the table has here, and would be meant then: hence `.*`.
        let question = sql!(
            "SELECT pg_catalog.row_to_json(t.*)::text AS row, pg_catalog.count(*)::text AS number FROM {} t GROUP BY 1",
            table
        );
        let mut rows = BTreeMap::new();
        cluster.session().read(&format!("read the rows of table {table}"), &question, |row| {
            // What cannot be read looks the same in all rows.
            *rows.entry(row.text("row")?).or_default() += row.number::<u64>("number")?;
            Ok(())
        })?;
        Ok(Self { table, rows })
    }

    /// What has become of them by now.
    ///
    /// # Errors
    /// As for [`read`](TableRows::read).
    pub fn compare(&self, cluster: &Cluster) -> Result<RowsDifference> {
        Ok(self.difference(&Self::read(cluster, &self.table)?))
    }

    /// What has become of them by a later moment.
    pub fn difference(&self, later: &Self) -> RowsDifference {
        RowsDifference {
            table: self.table.clone(),
            gone: more(&self.rows, &later.rows),
            new: more(&later.rows, &self.rows),
        }
    }
}

/// What there is more of in the first than in the second.
fn more(these: &BTreeMap<String, u64>, those: &BTreeMap<String, u64>) -> Vec<(String, u64)> {
    let excess = |(row, number): (&String, &u64)| {
        let excess = number.saturating_sub(those.get(row).copied().unwrap_or_default());
        (excess > 0).then(|| (row.clone(), excess))
    };
    these.iter().filter_map(excess).collect()
}

impl RowsDifference {
    /// Whether the rows are the same.
    pub fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.new.is_empty()
    }
}

impl fmt::Display for RowsDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = |rows: &[(String, u64)]| rows.iter().map(|(_, number)| number).sum::<u64>();
        let (gone, new) = (total(&self.gone), total(&self.new));
        writeln!(f, "{}: {gone} row{} gone, {new} new", self.table, if gone == 1 { "" } else { "s" })?;
        for (sign, rows) in [('-', &self.gone), ('+', &self.new)] {
            for (row, number) in rows {
                match number {
                    1 => writeln!(f, "{sign} {row}")?,
                    _ => writeln!(f, "{sign} {row} ({number} times)")?,
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[(&str, u64)]) -> TableRows {
        let rows = rows.iter().map(|(row, number)| ((*row).to_owned(), *number)).collect();
        TableRows { table: "item".into(), rows }
    }

    #[test]
    fn duplicates_are_counted_and_the_order_does_not_matter() {
        let before = rows(&[("a", 3), ("b", 1), ("c", 2)]);
        let difference = before.difference(&rows(&[("c", 2), ("a", 1), ("d", 2)]));
        assert_eq!(difference.to_string(), "public.item: 3 rows gone, 2 new\n- a (2 times)\n- b\n+ d (2 times)\n");
        assert!(!difference.is_empty() && before.difference(&before).is_empty());
    }
}
