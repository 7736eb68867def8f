//! Lives of the ledger for those who ask (docs/WIRE.md, `history`).
//!
//! The journal's writer reads rows as they are, a bounded slice at a time, because launches wait behind it; what they say
//! is looked at on a thread of its own.

use crate::journal::{Journal, JournalError};
use burst_policy::{history::Filter, life::Life};
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most rows and bytes of one slice.
const SLICE: (usize, usize) = (200, 4 * 1024 * 1024);
/// Slices that one question looks through: whoever asks for more goes on with `next`.
const SLICES: usize = 8;
/// An answer is sent when it has so many bytes.
const ANSWER: usize = 4 * 1024 * 1024;

/// Some rows of the ledger, youngest first.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Slice {
    /// Row id and document.
    rows: Vec<(i64, String)>,
    /// There may be older ones.
    more: bool,
}

/// Reads a slice of rows that are older than `before`.
pub(crate) fn slice(db: &Connection, before: Option<i64>) -> Result<String, JournalError> {
    let mut out = Slice::default();
    let mut bytes = 0;
    let mut query =
        db.prepare_cached("SELECT rowid, doc FROM ledger WHERE rowid < ?1 ORDER BY rowid DESC LIMIT ?2")?;
    let most = i64::try_from(SLICE.0).unwrap_or(i64::MAX);
    let mut rows = query.query(params![before.unwrap_or(i64::MAX), most])?;
    while let Some(row) = rows.next()? {
        let doc: String = row.get(1)?;
        bytes += doc.len();
        out.rows.push((row.get(0)?, doc));
        if bytes >= SLICE.1 {
            out.more = true;
            break;
        }
    }
    out.more |= out.rows.len() >= SLICE.0;
    serde_json::to_string(&out).map_err(|e| JournalError(e.to_string()))
}

/// The lives that somebody may see of those asked for, youngest first, and where to go on:
/// `{"lives":[…],"next":123|null}`.
///
/// # Errors
/// The journal cannot be read.
pub(crate) async fn lives(
    journal: &Journal,
    filter: Filter,
    uid: u32,
    operator: bool,
) -> Result<Value, JournalError> {
    let (mut lives, mut size, mut before) = (Vec::new(), 0, filter.before);
    for _ in 0..SLICES {
        let text = journal.ledger(before).await?;
        let text = text.ok_or_else(|| JournalError("the ledger cannot be read".into()))?;
        let asked = filter.clone();
        let picked = tokio::task::spawn_blocking(move || pick(&text, &asked, uid, operator))
            .await
            .map_err(|e| JournalError(e.to_string()))??;
        size += picked.bytes;
        lives.extend(picked.lives);
        before = picked.next;
        if before.is_none() || size >= ANSWER {
            break;
        }
    }
    Ok(json!({"lives": lives, "next": before}))
}

struct Picked {
    lives: Vec<Value>,
    bytes: usize,
    next: Option<i64>,
}

fn pick(text: &str, filter: &Filter, uid: u32, operator: bool) -> Result<Picked, JournalError> {
    let slice: Slice = serde_json::from_str(text).map_err(|e| JournalError(e.to_string()))?;
    let mut out = Picked { lives: Vec::new(), bytes: 0, next: None };
    let last = slice.rows.last().map(|(id, _)| *id).filter(|_| slice.more);
    for (id, doc) in slice.rows {
        let Ok(mut life) = serde_json::from_str::<Life>(&doc) else {
            tracing::warn!(row = id, "a row of the ledger cannot be read and is left out");
            continue;
        };
        if filter.ends_at(&life) {
            return Ok(out);
        }
        if filter.takes(&life, uid, operator) {
            if filter.brief {
                life.reports.clear();
            }
            let value = serde_json::to_value(&life).map_err(|e| JournalError(e.to_string()))?;
            out.bytes += if filter.brief { 2_048 } else { doc.len() };
            out.lives.push(value);
        }
    }
    out.next = last;
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(lives: &[Life]) -> Connection {
        let db = Connection::open_in_memory().unwrap();
        crate::journal::make_tables(&db).unwrap();
        // Of the table's columns only the document is read here.
        db.execute_batch("DROP TABLE IF EXISTS ledger; CREATE TABLE ledger (doc TEXT NOT NULL)").unwrap();
        for life in lives {
            db.execute("INSERT INTO ledger (doc) VALUES (?1)", [serde_json::to_string(life).unwrap()])
                .unwrap();
        }
        db
    }

    fn life(n: u32, uid: u32) -> Life {
        let mut life = Life { job: n, text: n.to_string(), uid, ..Life::default() };
        life.phases.done_ms = Some(u64::from(n) * 1_000);
        life.reports = vec![burst_plan::report::NodeReport::default()];
        life
    }

    /// All answers to one question, joined as burstctl joins them.
    async fn ask(db: Connection, filter: &Filter, uid: u32, operator: bool) -> Vec<Life> {
        let (journal, mut writer) = Journal::queue();
        let mut db = db;
        let serve = async {
            while writer.wait().await {
                writer.commit(&mut db, 0);
            }
        };
        let questions = async move {
            let (mut all, mut filter) = (Vec::new(), filter.clone());
            loop {
                let page = lives(&journal, filter.clone(), uid, operator).await.unwrap();
                let part: Vec<Life> = serde_json::from_value(page["lives"].clone()).unwrap();
                all.extend(part);
                filter.before = page["next"].as_i64();
                if filter.before.is_none() {
                    return all;
                }
            }
        };
        tokio::select! { all = questions => all, () = serve => panic!("the writer ended") }
    }

    fn numbers(lives: &[Life]) -> Vec<u32> {
        lives.iter().map(|l| l.job).collect()
    }

    #[tokio::test]
    async fn users_see_their_own_youngest_first_operators_all() {
        let rows: Vec<Life> = (1..=6).map(|n| life(n, 1000 + n % 2)).collect();
        let all = Filter::default();
        assert_eq!(numbers(&ask(table(&rows), &all, 1000, false).await), [6, 4, 2]);
        assert_eq!(numbers(&ask(table(&rows), &all, 0, true).await), [6, 5, 4, 3, 2, 1]);
        let since = Filter { since_ms: Some(5_000), brief: true, ..Filter::default() };
        let young = ask(table(&rows), &since, 0, true).await;
        assert_eq!((numbers(&young), young[0].reports.len()), (vec![6, 5], 0));
        assert_eq!(ask(table(&rows), &all, 0, true).await[0].reports.len(), 1);
    }

    #[tokio::test]
    async fn a_long_ledger_comes_in_parts_and_none_is_missed_or_twice() {
        let most = u32::try_from(SLICE.0 * SLICES * 2 + 17).unwrap();
        let rows: Vec<Life> = (1..=most).map(|n| life(n, 1000)).collect();
        let all = ask(table(&rows), &Filter::default(), 1000, false).await;
        assert_eq!(numbers(&all), (1..=most).rev().collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_hides_no_other() {
        let db = table(&[life(1, 1000)]);
        db.execute("INSERT INTO ledger (doc) VALUES ('{')", []).unwrap();
        db.execute("INSERT INTO ledger (doc) VALUES (?1)", [serde_json::to_string(&life(3, 1000)).unwrap()])
            .unwrap();
        assert_eq!(numbers(&ask(db, &Filter::default(), 0, true).await), [3, 1]);
    }

    #[test]
    fn a_slice_is_bounded_in_bytes() {
        let mut wide = life(1, 0);
        wide.name = "x".repeat(SLICE.1 / 2);
        let db = table(&[wide.clone(), wide.clone(), wide]);
        let slice: Slice = serde_json::from_str(&slice(&db, None).unwrap()).unwrap();
        assert_eq!((slice.rows.len(), slice.more), (2, true));
    }
}
