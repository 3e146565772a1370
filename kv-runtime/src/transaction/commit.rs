//! The end of a unit of work: all of its changes by one script, or none.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::touched::Touched;
use super::{Attempt, Transaction};
use crate::durability::Durability;
use crate::error::{Error, Operation};
use crate::hot_store::{FreeValue, HotStoreError, Probe, Unit, UnitOutcome, UnitRow, WriteOutcome};
use crate::receipt::Receipt;
use crate::room::RoomWait;
use crate::rows::{LOADS_MAX, random_id};
use crate::unique;

impl Transaction {
    /// `durability` is what its writes wait for; `None` takes that of their models.
    pub(super) async fn commit(
        &self,
        touched: Vec<Touched>,
        durability: Option<Durability>,
    ) -> Result<Attempt, Error> {
        // One row that was read alone was whatever it was.
        if touched.len() < 2 && !touched.iter().any(Touched::has_changed) {
            return Ok(Attempt::Committed(None));
        }
        let Some(first) = touched.iter().find(|row| row.has_changed()).or(touched.first()) else {
            return Ok(Attempt::Committed(None));
        };
        let (at, id) = (first.at, first.key.id.clone());
        let mut unit = Unit {
            partition: first.key.partition(),
            operation_id: random_id(),
            rows: touched.iter().map(|row| row.to_unit_row(&self.stores.keys)).collect(),
        };
        self.check_size(at, &id, &unit)?;
        check_claims_differ(at, &unit)?;
        let durabilities = self.check_durabilities(at, &unit, durability).await?;
        self.look_up(&touched, &mut unit).await?;
        let mut room = RoomWait::new(self.stores.settings.on_full);
        // What was looked up can have changed since, for each row by itself.
        for tries in 1..=LOADS_MAX * (1 + unit.rows.len()) {
            let outcome = room.write_unit(&self.stores, &unit).await;
            if let Err(HotStoreError::Moved) = outcome {
                // What was read lies elsewhere by now.
                self.stores.follow(&touched[0].key).await;
                return Ok(Attempt::Stale(stale(&touched[0])));
            }
            let outcome = outcome.map_err(|error| Error::from_hot(at, &id, error))?;
            let (place, refusal) = match outcome {
                UnitOutcome::Unchanged => return Ok(Attempt::Committed(None)),
                UnitOutcome::Refused(place, WriteOutcome::Stale) => {
                    return Ok(Attempt::Stale(stale(&touched[place])));
                }
                UnitOutcome::Refused(place, WriteOutcome::Refused(refusal)) => {
                    if refusal.is_of_unique_value() && tries < LOADS_MAX {
                        // It may have become another row's since it was asked for.
                        self.look_up(&touched, &mut unit).await?;
                        continue;
                    }
                    let row = &touched[place];
                    return Err(Error::refused(row.at, &row.key.id, refusal));
                }
                UnitOutcome::Refused(place, refusal) => (place, refusal),
                UnitOutcome::ValueRefused { row, claim } => {
                    let found = self.probe(touched[row].at, &unit, row, claim).await?;
                    unit.note(row, claim, found);
                    continue;
                }
                UnitOutcome::Written(entry) => {
                    let stores = Arc::clone(&self.stores);
                    let nonce = unit.operation_id;
                    let receipt = Receipt::new(unit.partition, entry, nonce, stores);
                    let receipt = self.make_safe(at, &id, receipt, &durabilities).await?;
                    return Ok(Attempt::Committed(Some(receipt)));
                }
                UnitOutcome::Stored(entry) => {
                    let stores = Arc::clone(&self.stores);
                    let nonce = unit.operation_id;
                    let mut receipt = Receipt::new(unit.partition, entry, nonce, stores);
                    receipt.is_durable = true;
                    return Ok(Attempt::Committed(Some(receipt)));
                }
            };
            let at = touched[place].at;
            self.answer_refusal(at, &mut unit.rows[place], refusal, &room).await?;
        }
        Err(Error::busy(at, &id))
    }

    /// Asks PostgreSQL beforehand for what the script would want to know: all rows and values at once.
    async fn look_up(&self, touched: &[Touched], unit: &mut Unit) -> Result<(), Error> {
        let rows = unit.rows.iter().zip(touched).enumerate();
        let unprobed = rows.filter(|(_, (row, _))| row.probe == Probe::Missing);
        let probes = unprobed.map(async |(place, (row, touched))| {
            let change = row.change.as_ref();
            let Some(change) = change else { return Ok((place, None)) };
            let probe = self.rows(&row.key).prepare(touched.at, &row.key, change).await?;
            Ok::<_, Error>((place, probe))
        });
        let probes = try_join_all(probes).await?;
        let claims = unit.rows.iter().enumerate().flat_map(|(row, unit_row)| {
            let claims = unit_row.claims.iter().flatten().enumerate();
            claims.filter(|(_, claim)| claim.key.is_some()).map(move |(claim, _)| (row, claim))
        });
        let found = claims.map(async |(row, claim)| {
            let found = self.probe(touched[row].at, unit, row, claim).await?;
            Ok::<_, Error>((row, claim, found))
        });
        let found = try_join_all(found).await?;
        for (place, probe) in probes {
            unit.rows[place].probe = probe.unwrap_or(Probe::Missing);
        }
        for (row, claim, found) in found {
            unit.note(row, claim, found);
        }
        Ok(())
    }

    async fn probe(
        &self,
        at: Operation,
        unit: &Unit,
        row: usize,
        claim: usize,
    ) -> Result<Option<FreeValue>, Error> {
        let UnitRow { key, claims, .. } = &unit.rows[row];
        match claims.as_ref().and_then(|claims| claims.get(claim)) {
            Some(claim) => unique::probe(&self.stores, at, unit, key, claim).await,
            None => Ok(None),
        }
    }

    fn check_size(&self, at: Operation, id: &str, unit: &Unit) -> Result<(), Error> {
        let (header, values) = unit.encode().unwrap_or_default();
        let (bytes, max) = (header.len() + values.len(), self.stores.settings.max_entry_bytes);
        if bytes > max {
            Err(Error::TooLarge { at, id: id.to_owned(), bytes, max })
        } else {
            Ok(())
        }
    }

    /// The modes of the models that are written, which the server must know.
    async fn check_durabilities(
        &self,
        at: Operation,
        unit: &Unit,
        chosen: Option<Durability>,
    ) -> Result<Vec<Durability>, Error> {
        let mut durabilities = Vec::new();
        for row in unit.rows.iter().filter(|row| row.change.is_some()) {
            let durability = chosen.unwrap_or_else(|| self.rows(&row.key).durability());
            if !durability.is_fast() && !durabilities.contains(&durability) {
                let checked = self.stores.check_durability(row.key.model, durability).await;
                checked.map_err(|error| Error::from_hot(at, &row.key.id, error))?;
                durabilities.push(durability);
            }
        }
        Ok(durabilities)
    }

    async fn make_safe(
        &self,
        at: Operation,
        id: &str,
        mut receipt: Receipt,
        durabilities: &[Durability],
    ) -> Result<Receipt, Error> {
        for &durability in durabilities {
            receipt = receipt.replicate(at, id, durability).await?;
        }
        receipt.through(at, id).await
    }

    /// Does what a refused change asks for, so that the unit can be tried again.
    async fn answer_refusal(
        &self,
        at: Operation,
        row: &mut UnitRow,
        refusal: WriteOutcome,
        room: &RoomWait,
    ) -> Result<(), Error> {
        let id = row.key.id.clone();
        match (refusal, &row.change) {
            (WriteOutcome::Absent | WriteOutcome::Unprobed, Some(change)) => {
                let probe = self.rows(&row.key).prepare(at, &row.key, change).await?;
                row.probe = probe.unwrap_or_else(|| row.probe.clone());
                Ok(())
            }
            (WriteOutcome::Exists, _) => Err(Error::Duplicate { at, id }),
            (WriteOutcome::Held, _) => Err(Error::Held { at, id }),
            (WriteOutcome::Full, _) => Err(Error::Full { at, waited: room.waited() }),
            _ => Err(Error::NotFound { at, id }),
        }
    }
}

fn stale(row: &Touched) -> Error {
    let reason = "was changed by others again and again while a unit of work was at it; try again";
    Error::Conflict { at: row.at, id: row.key.id.clone(), reason }
}

/// Two rows of a unit cannot have one value; the script would let the second one take it.
fn check_claims_differ(at: Operation, unit: &Unit) -> Result<(), Error> {
    let mut keys = HashSet::new();
    for row in &unit.rows {
        let claims = row.claims.iter().flatten();
        let mut with_key = claims.filter_map(|claim| Some((claim, claim.key.as_ref()?)));
        if let Some((claim, _)) = with_key.find(|(_, key)| !keys.insert(*key)) {
            return Err(unique::not_unique(at, &row.key, claim));
        }
    }
    Ok(())
}
