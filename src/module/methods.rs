//! What a module and a transaction in it do alike.

/// Gives a type the methods that run one statement on the connection that its `on_connection` lends.
macro_rules! methods {
    ($type:ty, ($($receiver:tt)+), $this:ident) => {
        impl $type {
            /// All rows.
            ///
            /// # Errors
            /// As [the module](crate::module#errors) says; and so for the others.
            #[track_caller]
            pub fn query($($receiver)+, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>> {
                $this.on_connection(|queries| queries.query(sql, parameters))
            }

            /// All rows, each made into something else.
            ///
            /// # Errors
            /// Also those of the closure.
            #[track_caller]
            pub fn query_as<T>(
                $($receiver)+,
                sql: &str,
                parameters: &[&(dyn ToSql + Sync)],
                read: impl FnMut(&Row) -> Result<T>,
            ) -> Result<Vec<T>> {
                $this.on_connection(|queries| queries.query(sql, parameters))?.iter().map(read).collect()
            }

            /// The only row.
            ///
            /// # Errors
            /// Also [`Error::NotFound`](crate::Error::NotFound) for none, and [`Error::Invalid`](crate::Error::Invalid)
            /// for several. The statement has run to its end then, and outside a transaction what it has changed stays.
            #[track_caller]
            pub fn query_one($($receiver)+, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Row> {
                $this.on_connection(|queries| queries.query_one(sql, parameters))
            }

            /// The only row, if there is one.
            ///
            /// # Errors
            /// Also [`Error::Invalid`](crate::Error::Invalid) for several rows, as for `query_one`.
            #[track_caller]
            pub fn query_opt($($receiver)+, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<Option<Row>> {
                $this.on_connection(|queries| queries.query_opt(sql, parameters))
            }

            /// The only column of the only row: a count, the key of a row that was inserted (`RETURNING id`). An `Option` takes
            /// NULL too.
            ///
            /// # Errors
            /// Also as for `query_one`, and [`Error::Invalid`](crate::Error::Invalid) for several columns and for a value of
            /// another type.
            #[track_caller]
            pub fn value<T: FromSqlOwned>($($receiver)+, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<T> {
                $this.on_connection(|queries| queries.value(sql, parameters))
            }

            /// Runs a statement; returns how many rows it has changed or found.
            #[track_caller]
            pub fn execute($($receiver)+, sql: &str, parameters: &[&(dyn ToSql + Sync)]) -> Result<u64> {
                $this.on_connection(|queries| queries.execute(sql, parameters))
            }

            /// Runs several statements, without parameters and results, all or nothing, in one round trip.
            #[track_caller]
            pub fn batch_execute($($receiver)+, sql: &str) -> Result<()> {
                $this.on_connection(|queries| queries.batch_execute(sql))
            }

            /// Runs a [`COPY ... FROM STDIN`](https://www.postgresql.org/docs/current/sql-copy.html) with the data that a
            /// reader gives; returns how many rows they were. If the reader fails, nothing is kept.
            ///
            /// # Errors
            /// Also [`Error::Io`](crate::Error::Io): the reader's.
            #[track_caller]
            pub fn copy_in($($receiver)+, sql: &str, data: impl Read) -> Result<u64> {
                $this.on_connection(|queries| queries.copy_in(sql, data))
            }

            /// Runs a [`COPY ... TO STDOUT`](https://www.postgresql.org/docs/current/sql-copy.html) and gives its data to a
            /// writer; returns how many bytes they were.
            ///
            /// # Errors
            /// Also [`Error::Io`](crate::Error::Io): the writer's.
            #[track_caller]
            pub fn copy_out($($receiver)+, sql: &str, target: impl Write) -> Result<u64> {
                $this.on_connection(|queries| queries.copy_out(sql, target))
            }

            /// Whether the schema has a table of this name, which is taken as it stands. Partitioned and foreign tables count,
            /// views do not.
            #[track_caller]
            pub fn table_exists($($receiver)+, name: &str) -> Result<bool> {
                $this.on_connection(|queries| queries.table_exists(name))
            }
        }
    };
}
