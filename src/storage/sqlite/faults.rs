//! Where tests make the writer fail; without the feature `testing` there is nothing here.

use std::path::PathBuf;

use rusqlite::Connection;

use super::job::Job;
use super::trouble::EngineFault;

#[cfg(not(feature = "testing"))]
pub(super) use none::Faults;
#[cfg(feature = "testing")]
pub(super) use on_demand::Faults;

/// The point `migrate`: before each statement of a migration, before its commit and after it.
pub(super) fn migrating() {
    #[cfg(feature = "testing")]
    crate::storage::failpoint::hit("migrate");
}

#[cfg(not(feature = "testing"))]
mod none {
    use super::{Connection, EngineFault, Job, PathBuf};

    pub(in crate::storage::sqlite) struct Faults;
    pub(in crate::storage::sqlite) struct Points;

    impl Faults {
        pub(in crate::storage::sqlite) fn new(_: PathBuf) -> Self {
            Self
        }

        pub(in crate::storage::sqlite) fn points(&self, _: &[Job]) -> Points {
            Points
        }

        pub(in crate::storage::sqlite) fn limit_pages(
            &self,
            _: &Connection,
        ) -> rusqlite::Result<()> {
            Ok(())
        }

        pub(in crate::storage::sqlite) fn before_commit(
            &self,
            _: &Points,
        ) -> Result<(), EngineFault> {
            Ok(())
        }

        pub(in crate::storage::sqlite) fn after_commit(&self, _: &Points, _: bool) {}
    }
}

#[cfg(feature = "testing")]
mod on_demand {
    use super::{Connection, EngineFault, Job, PathBuf};
    use crate::storage::failpoint;

    /// The faults that a data directory asks for.
    pub(in crate::storage::sqlite) struct Faults {
        dir: PathBuf,
    }

    /// The methods whose jobs are in one transaction.
    pub(in crate::storage::sqlite) struct Points(Vec<&'static str>);

    impl Faults {
        pub(in crate::storage::sqlite) fn new(dir: PathBuf) -> Self {
            Self { dir }
        }

        pub(in crate::storage::sqlite) fn points(&self, jobs: &[Job]) -> Points {
            Points(jobs.iter().map(Job::method).collect())
        }

        /// Lets the database grow only as far as its disk, if that is full.
        pub(in crate::storage::sqlite) fn limit_pages(
            &self,
            connection: &Connection,
        ) -> rusqlite::Result<()> {
            let pages = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
            let limit = failpoint::max_pages(&self.dir, pages);
            connection
                .pragma_update_and_check(None, "max_page_count", limit, |row| row.get::<_, i64>(0))
                .map(|_| ())
        }

        /// The points `<method>.before`, and an fsync that fails.
        pub(in crate::storage::sqlite) fn before_commit(
            &self,
            points: &Points,
        ) -> Result<(), EngineFault> {
            hit(points, "before");
            if failpoint::fsync_fails(&self.dir) {
                let why = "disk I/O error (a failed sync, asked for)".to_owned();
                return Err(EngineFault { why, again: false });
            }
            Ok(())
        }

        /// The points `<method>.after`.
        pub(in crate::storage::sqlite) fn after_commit(&self, points: &Points, committed: bool) {
            if committed {
                hit(points, "after");
            }
        }
    }

    fn hit(points: &Points, side: &str) {
        for method in &points.0 {
            failpoint::hit(&format!("{method}.{side}"));
        }
    }
}
