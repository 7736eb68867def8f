//! What is kept of lives that are over, and of what nodes reported (docs/WIRE.md).

use super::{Journal, JournalError, Reply, Write};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use tokio::sync::oneshot;

/// `ledger` has a row for each life, `report` what came of lives whose record is not written yet.
pub(super) const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS ledger (gang TEXT NOT NULL, restart INTEGER NOT NULL, job TEXT NOT NULL, user TEXT NOT NULL,
  account TEXT NOT NULL, pool TEXT NOT NULL, began INTEGER, ended INTEGER NOT NULL, cost INTEGER NOT NULL,
  open INTEGER NOT NULL, doc TEXT NOT NULL, at INTEGER NOT NULL, PRIMARY KEY (gang, restart));
CREATE INDEX IF NOT EXISTS ledger_ended ON ledger (ended);
CREATE INDEX IF NOT EXISTS ledger_open ON ledger (open) WHERE open = 1;
CREATE TABLE IF NOT EXISTS report (gang TEXT NOT NULL, restart INTEGER NOT NULL, node TEXT NOT NULL, doc TEXT NOT NULL,
  at INTEGER NOT NULL, PRIMARY KEY (gang, restart, node));
";

/// Lives kept: some years of a busy site.
const KEEP_LIVES: i64 = 100_000;
/// Reports of lives that never had a record (a journal that was set aside) are dropped after this time, ms.
const KEEP_REPORTS_MS: i64 = 30 * 86_400_000;
/// Lives that `explain` knows after a restart.
const RECENT: i64 = 500;

/// A row of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Gang key.
    pub gang: String,
    /// `restart_cnt`.
    pub restart: u32,
    /// `12` or `12_3`.
    pub job: String,
    /// Owner's name.
    pub user: String,
    /// Account.
    pub account: String,
    /// Pool.
    pub pool: String,
    /// Started, Unix ms.
    pub began_ms: Option<u64>,
    /// Given back, Unix ms.
    pub ended_ms: u64,
    /// What is known of its cost, micro-dollars.
    pub cost: u64,
    /// Reports may still come: its record is not written.
    pub open: bool,
    /// The life as JSON.
    pub doc: String,
}

/// A node's report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Gang key.
    pub gang: String,
    /// `restart_cnt`.
    pub restart: u32,
    /// Node name.
    pub node: String,
    /// The report as JSON.
    pub doc: String,
}

/// Money of one day: (day since 1970 in UTC, user, account, pool, micro-dollars).
pub type Day = (u64, String, String, String, u64);

/// What a new engine has to know of before.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Past {
    /// Lives whose record is not written.
    pub open: Vec<String>,
    /// Money of lives that were over since a time.
    pub days: Vec<Day>,
    /// (gang, restart, node, bytes) of every report.
    pub reports: Vec<(String, u32, String, u64)>,
    /// Lives that were over lately, without their long parts.
    pub recent: Vec<String>,
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn plain(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

impl Journal {
    /// Puts a life's row into the queue at once: its place among other writes is now. One that is not open takes its
    /// reports with it.
    ///
    /// # Errors
    /// The writer is gone.
    pub fn post_life(&self, row: Row) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.send(Write::Life(Box::new(row)))
    }

    /// Writes a report; one that is there already stays.
    ///
    /// # Errors
    /// The writer is gone.
    pub fn post_report(&self, report: Stored) -> Result<oneshot::Receiver<Reply>, JournalError> {
        self.send(Write::Report(Box::new(report)))
    }

    /// The reports of a life, by node.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn reports(&self, gang: String, restart: u32) -> Result<Vec<String>, JournalError> {
        let text = self.ask(Write::Reports { gang, restart }).await?.unwrap_or_default();
        serde_json::from_str(&text).map_err(|e| JournalError(e.to_string()))
    }

    /// What was before. `since_ms`: from when on money is summed up.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub async fn past(&self, since_ms: u64) -> Result<Past, JournalError> {
        let text = self.ask(Write::Past { since_ms }).await?.unwrap_or_default();
        serde_json::from_str(&text).map_err(|e| JournalError(e.to_string()))
    }
}

pub(super) fn write_life(tx: &Transaction<'_>, r: &Row, now: i64) -> rusqlite::Result<()> {
    let written = tx
        .prepare_cached(
            "INSERT INTO ledger (gang, restart, job, user, account, pool, began, ended, cost, open, doc, at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
         ON CONFLICT (gang, restart) DO UPDATE SET cost = ?9, open = ?10, doc = ?11, at = ?12 WHERE open = 1",
        )?
        .execute(params![
            r.gang,
            r.restart,
            r.job,
            r.user,
            r.account,
            r.pool,
            r.began_ms.map(signed),
            signed(r.ended_ms),
            signed(r.cost),
            r.open,
            r.doc,
            now
        ])?;
    if written == 0 {
        // That row is final: what comes again is the same life, or money that nobody would be told of. Not being able
        // to tell is no reason to lose the writes beside this one.
        let stored: String = tx
            .prepare_cached("SELECT doc FROM ledger WHERE gang = ?1 AND restart = ?2")?
            .query_row(params![r.gang, r.restart], |row| row.get(0))
            .unwrap_or_default();
        if let Some(instance) = lost_instance(&stored, &r.doc) {
            tracing::error!(gang_id = %r.gang, restart = r.restart, job = %r.job, %instance,
                "the ledger has another life under this number already: what this one's instances cost is in no sum");
        }
    }
    if !r.open {
        tx.prepare_cached("DELETE FROM report WHERE gang = ?1 AND restart = ?2 OR at < ?3")?
            .execute(params![r.gang, r.restart, now.saturating_sub(KEEP_REPORTS_MS)])?;
        tx.prepare_cached(
            "DELETE FROM ledger WHERE open = 0 AND rowid <= (SELECT MAX(rowid) FROM ledger) - ?1",
        )?
        .execute([KEEP_LIVES])?;
    }
    Ok(())
}

/// Instances in a life's document; None where it has no such list.
fn instances(doc: &str) -> Option<BTreeSet<String>> {
    let doc: Value = serde_json::from_str(doc).ok()?;
    let list = doc.get("instances")?.as_array()?;
    Some(list.iter().filter_map(|i| i.get("id")?.as_str().map(str::to_owned)).collect())
}

/// An instance that the life which comes has, and the final row of the same key has not. A row that cannot be read
/// has none.
fn lost_instance(stored: &str, comes: &str) -> Option<String> {
    let kept = instances(stored).unwrap_or_default();
    instances(comes)?.into_iter().find(|id| !kept.contains(id))
}

pub(super) fn write_report(tx: &Transaction<'_>, r: &Stored, now: i64) -> rusqlite::Result<()> {
    tx.prepare_cached(
        "INSERT INTO report (gang, restart, node, doc, at) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (gang, restart, node) DO NOTHING",
    )?
    .execute(params![r.gang, r.restart, r.node, r.doc, now])?;
    Ok(())
}

fn json<T: Serialize>(value: &T) -> Result<Option<String>, JournalError> {
    serde_json::to_string(value).map(Some).map_err(|e| JournalError(e.to_string()))
}

pub(super) fn read_reports(db: &Connection, gang: &str, restart: u32) -> Reply {
    let mut q = db.prepare_cached("SELECT doc FROM report WHERE gang = ?1 AND restart = ?2 ORDER BY node")?;
    let rows = q.query_map(params![gang, restart], |r| r.get::<_, String>(0))?;
    json(&rows.collect::<Result<Vec<_>, _>>()?)
}

pub(super) fn read_past(db: &Connection, since_ms: u64) -> Reply {
    let texts = |sql: &str, n: i64| -> rusqlite::Result<Vec<String>> {
        let mut q = db.prepare(sql)?;
        let rows = q.query_map([n], |r| r.get::<_, String>(0))?;
        rows.collect()
    };
    let mut q = db.prepare(
        "SELECT ended / 86400000, user, account, pool, SUM(cost) FROM ledger WHERE ended >= ?1 AND open = 0
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4",
    )?;
    let days = q.query_map([signed(since_ms)], |r| {
        Ok((plain(r.get(0)?), r.get(1)?, r.get(2)?, r.get(3)?, plain(r.get(4)?)))
    })?;
    let days = days.collect::<Result<Vec<_>, _>>()?;
    let mut q =
        db.prepare("SELECT gang, restart, node, LENGTH(doc) FROM report ORDER BY gang, restart, node")?;
    let reports = q.query_map([], |r| Ok((r.get(0)?, r.get(1)?, r.get(2)?, plain(r.get(3)?))))?;
    let reports = reports.collect::<Result<Vec<_>, _>>()?;
    let open = texts("SELECT doc FROM ledger WHERE open = 1 ORDER BY rowid LIMIT ?1", i64::from(u32::MAX))?;
    let recent = texts(
        "SELECT json_remove(doc, '$.instances', '$.reports', '$.geometry', '$.request', '$.plan')
         FROM ledger WHERE open = 0 ORDER BY rowid DESC LIMIT ?1",
        RECENT,
    )?;
    json(&Past { open, days, reports, recent })
}

#[cfg(test)]
mod tests {
    use super::*;
    use burst_policy::life::{Life, Ran};

    fn row(gang: &str, open: bool, cost: u64, ended_ms: u64) -> Row {
        Row {
            gang: gang.into(),
            restart: 0,
            job: "12".into(),
            user: "ada".into(),
            account: "lab".into(),
            pool: "efa".into(),
            began_ms: Some(1),
            ended_ms,
            cost,
            open,
            doc: format!(r#"{{"text":"12","reports":[1],"gang":"{gang}"}}"#),
        }
    }

    fn stored(node: &str, doc: &str) -> Stored {
        Stored { gang: "a".into(), restart: 0, node: node.into(), doc: doc.into() }
    }

    #[test]
    fn two_lives_of_one_number_are_told_apart_by_their_instances() {
        let of = |ids: &[&str]| {
            let ran = |id: &&str| Ran { id: (*id).into(), ..Ran::default() };
            serde_json::to_string(&Life { instances: ids.iter().map(ran).collect(), ..Life::default() })
                .expect("a life")
        };
        assert_eq!(lost_instance(&of(&["i-1", "i-2"]), &of(&["i-2", "i-1"])), None, "the same life again");
        assert_eq!(lost_instance(&of(&["i-1", "i-2"]), &of(&["i-1"])), None, "it knew more before");
        assert_eq!(lost_instance(&of(&["i-1"]), &of(&["i-1", "i-3"])), Some("i-3".into()));
        assert_eq!(lost_instance(&of(&[]), &of(&["i-3"])), Some("i-3".into()));
        assert_eq!(lost_instance("damaged", &of(&["i-3"])), Some("i-3".into()));
        assert_eq!(lost_instance(&of(&["i-1"]), &of(&[])), None, "it cost nothing");
    }

    #[tokio::test]
    async fn nothing_is_lost_between_the_end_of_a_life_and_its_record() {
        let mut db = Connection::open_in_memory().expect("memory");
        super::super::make_tables(&db).expect("tables");
        let (journal, mut writer) = Journal::queue();
        let day = 86_400_000;
        for r in [row("a", true, 0, 10 * day), row("b", false, 5, 10 * day), row("c", false, 7, 10 * day + 1)]
        {
            journal.post_life(r).expect("queued");
        }
        for r in [stored("n2", "2"), stored("n1", "1"), stored("n1", "again")] {
            journal.post_report(r).expect("queued");
        }
        let past = journal.past(10 * day);
        let reports = journal.reports("a".into(), 0);
        let (past, reports, ()) = tokio::join!(past, reports, async {
            assert!(writer.wait().await);
            writer.commit(&mut db, 1);
        });
        let past = past.expect("read");
        assert_eq!(past.open.len(), 1);
        assert_eq!(
            past.days,
            [(10, "ada".into(), "lab".into(), "efa".into(), 12)],
            "the open one is not counted"
        );
        assert_eq!(past.reports, [("a".into(), 0, "n1".into(), 1), ("a".into(), 0, "n2".into(), 1)]);
        assert_eq!(past.recent, [r#"{"text":"12","gang":"c"}"#, r#"{"text":"12","gang":"b"}"#]);
        assert_eq!(reports.expect("read"), ["1", "2"], "the first word of a node counts");
        // The record is written: the row is final, and its reports are in it.
        journal.post_life(row("a", false, 3, 10 * day)).expect("queued");
        journal.post_life(row("a", true, 0, 10 * day)).expect("queued");
        let (past, ()) = tokio::join!(journal.past(10 * day + 1), async {
            assert!(writer.wait().await);
            writer.commit(&mut db, 2);
        });
        let past = past.expect("read");
        assert_eq!((past.open.len(), past.reports.len()), (0, 0), "what is final stays final");
        assert_eq!(past.days, [(10, "ada".into(), "lab".into(), "efa".into(), 7)]);
    }
}
