//! What each call holds, and who has to give it up.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Waker};
use std::time::Instant;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use super::{FREE_BYTES, Full, Of, PATIENCE, SHARES};
use crate::encoder::queue::Origin;
use crate::server::layers::tally::Tally;

/// The bytes of messages under way. Clones share them.
#[derive(Debug, Clone)]
pub struct MessageBudget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    ledger: Mutex<Ledger>,
}

#[derive(Debug, Default)]
struct Ledger {
    used: u64,
    /// The part of `used` that each caller has, where it is known.
    callers: Tally<u64, u64>,
    next: u64,
    calls: BTreeMap<u64, Account>,
}

#[derive(Debug)]
struct Account {
    origin: Option<Origin>,
    has_place: bool,
    held: u64,
    /// Since when a first message is to come whole; of a request that is one message, its end.
    awaited: Option<Instant>,
    /// Since when half a message of the request is there.
    receiving: Option<Instant>,
    /// Since when the client has not read on.
    unread: Option<Instant>,
    /// What is left of a reply's message.
    reply: Option<Bytes>,
    /// Why it had to give up what it held; it holds nothing any more.
    given_up: Option<Full>,
    /// Cancelled when it has to.
    give_up: CancellationToken,
}

impl Account {
    fn caller(&self) -> Option<u64> {
        self.origin.map(|origin| origin.caller)
    }

    fn is_given_up(&self) -> bool {
        self.given_up.is_some()
    }
}

fn charge(held: u64) -> u64 {
    held.saturating_sub(FREE_BYTES)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MessageBudget {
    /// At most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self(Arc::new(Inner { limit, ledger: Mutex::default() }))
    }

    /// Bytes held now.
    #[cfg(test)]
    pub(super) fn used(&self) -> u64 {
        lock(&self.0.ledger).used
    }

    /// A call that holds nothing yet, of a caller that has others, perhaps; `has_place` if it is
    /// one of those whose places are bounded for the whole server.
    pub(in crate::server::layers) fn open(
        &self,
        origin: Option<Origin>,
        has_place: bool,
    ) -> CallBytes {
        let mut ledger = lock(&self.0.ledger);
        let id = ledger.next;
        ledger.next += 1;
        let give_up = CancellationToken::new();
        let account = Account {
            origin,
            has_place,
            held: 0,
            awaited: Some(Instant::now()),
            receiving: None,
            unread: None,
            reply: None,
            given_up: None,
            give_up: give_up.clone(),
        };
        ledger.calls.insert(id, account);
        let budget = self.clone();
        CallBytes(Arc::new(Call { budget, id, give_up, work: Mutex::default() }))
    }

    /// Has the call given up whose request has been awaited for longest, if that is longer than
    /// [`PATIENCE`], `among` those of some origins. Its place, one of `places`, is free as soon as
    /// its task has seen it: nothing but its request is there yet. Says whether there was one.
    pub fn give_up_awaited(&self, places: usize, among: impl Fn(&Origin) -> bool) -> bool {
        let full = Full { limit: places as u64, of: Of::Places };
        lock(&self.0.ledger).give_up_oldest(full, |_, account| {
            let its = account.has_place && account.origin.as_ref().is_some_and(&among);
            account.awaited.filter(|_| its)
        })
    }

    /// Makes every message under way older.
    #[cfg(test)]
    pub(in crate::server::layers) fn age(&self, by: std::time::Duration) {
        for account in lock(&self.0.ledger).calls.values_mut() {
            let Account { awaited, receiving, unread, .. } = account;
            for since in [awaited, receiving, unread].into_iter().flatten() {
                *since = since.checked_sub(by).expect("the clock began before");
            }
        }
    }
}

impl Ledger {
    /// Has the oldest messages given up until `more` bytes fit, first within the share of the
    /// call's caller, by its own messages.
    fn make_room(&mut self, more: u64, limit: u64, for_call: u64) -> Result<(), Full> {
        let call = self.calls.get(&for_call);
        let own = call.filter(|call| !call.is_given_up()).map_or(0, |call| charge(call.held));
        if let Some(caller) = call.and_then(Account::caller) {
            let share = limit / SHARES;
            let full = Full { limit: share, of: Of::OneCaller };
            loop {
                let held = self.callers.of(&caller);
                // A call that is its caller's only one of size may be as large as it likes.
                if held <= own || held.saturating_add(more) <= share {
                    break;
                }
                let its = |account: &Account| account.caller() == Some(caller);
                if !self.give_up_bytes(full, for_call, its) {
                    return Err(full);
                }
            }
        }
        let full = Full { limit, of: Of::All };
        while self.used.saturating_add(more) > limit {
            if !self.give_up_bytes(full, for_call, |_| true) {
                return Err(full);
            }
        }
        Ok(())
    }

    /// Has the message given up that has been waiting for longest, of some calls that hold bytes
    /// and never of `for_call`. Says whether there was one.
    fn give_up_bytes(
        &mut self,
        full: Full,
        for_call: u64,
        among: impl Fn(&Account) -> bool,
    ) -> bool {
        self.give_up_oldest(full, |id, account| {
            let since = [account.receiving, account.unread].into_iter().flatten().min();
            since.filter(|_| id != for_call && charge(account.held) > 0 && among(account))
        })
    }

    /// Has the call given up that has been waiting for longest, and longer than [`PATIENCE`];
    /// `since` says since when one has, if it is to be considered. Says whether there was one.
    fn give_up_oldest(
        &mut self,
        full: Full,
        since: impl Fn(u64, &Account) -> Option<Instant>,
    ) -> bool {
        let waiting = self.calls.iter().filter(|(_, account)| !account.is_given_up());
        let waiting = waiting.filter_map(|(id, account)| Some((since(*id, account)?, *id)));
        let oldest = waiting.min().filter(|(since, _)| since.elapsed() > PATIENCE);
        let Some(account) = oldest.and_then(|(_, id)| self.calls.get_mut(&id)) else {
            return false;
        };
        account.reply = None;
        account.given_up = Some(full);
        account.give_up.cancel();
        let (caller, freed) = (account.caller(), charge(account.held));
        self.less(caller, freed);
        true
    }

    /// Counts bytes that are held from now on.
    fn more(&mut self, caller: Option<u64>, bytes: u64) {
        self.used += bytes;
        if let Some(caller) = caller {
            self.callers.add(caller, bytes);
        }
    }

    /// Counts bytes that are held no more.
    fn less(&mut self, caller: Option<u64>, bytes: u64) {
        self.used -= bytes;
        if let Some(caller) = caller {
            self.callers.take(caller, bytes);
        }
    }
}

/// What one call holds of a [`MessageBudget`]; given back with the last clone. A request
/// extension, for streams to tell which of their messages are done.
#[derive(Debug, Clone)]
pub struct CallBytes(Arc<Call>);

#[derive(Debug)]
struct Call {
    budget: MessageBudget,
    id: u64,
    give_up: CancellationToken,
    work: Mutex<Work>,
}

/// The messages of a request.
#[derive(Debug, Default)]
struct Work {
    /// Bytes of the request that are charged.
    received: u64,
    next: u64,
    /// Complete messages by position, with their sizes.
    complete: BTreeMap<u64, u64>,
    /// Who waits until fewer are in work.
    reader: Option<Waker>,
}

impl CallBytes {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.0.budget.0.ledger)
    }

    fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> Option<T> {
        self.ledger().calls.get_mut(&self.0.id).map(change)
    }

    /// Cancelled when the call has to give up what it holds.
    pub(in crate::server::layers) fn give_up(&self) -> &CancellationToken {
        &self.0.give_up
    }

    /// Why it had to give up what it held.
    pub(in crate::server::layers) fn refusal(&self) -> Full {
        let given_up = self.with(|account| account.given_up).flatten();
        given_up.unwrap_or(Full { limit: self.0.budget.0.limit, of: Of::All })
    }

    /// Has older messages given up until `more` bytes find room, and holds nothing yet.
    pub(super) fn make_room_for(&self, more: u64) -> Result<(), Full> {
        let (limit, id) = (self.0.budget.0.limit, self.0.id);
        self.ledger().make_room(charge(more), limit, id)
    }

    /// Holds `more` bytes.
    pub(super) fn grow(&self, more: u64) -> Result<(), Full> {
        let (limit, id) = (self.0.budget.0.limit, self.0.id);
        let mut ledger = self.ledger();
        let all = Full { limit, of: Of::All };
        let account = ledger.calls.get(&id).ok_or(all)?;
        if let Some(full) = account.given_up {
            return Err(full);
        }
        let caller = account.caller();
        let added = charge(account.held.saturating_add(more)) - charge(account.held);
        if added > 0 {
            ledger.make_room(added, limit, id)?;
        }
        ledger.more(caller, added);
        if let Some(account) = ledger.calls.get_mut(&id) {
            account.held += more;
        }
        Ok(())
    }

    /// Gives `less` bytes back.
    pub(super) fn shrink(&self, less: u64) {
        let mut ledger = self.ledger();
        let Some(account) = ledger.calls.get_mut(&self.0.id) else { return };
        if !account.is_given_up() {
            let before = charge(account.held);
            account.held = account.held.saturating_sub(less);
            let (caller, freed) = (account.caller(), before - charge(account.held));
            ledger.less(caller, freed);
        }
    }

    /// Notes bytes of the request, whether they made a message whole, and whether half of one is
    /// there now.
    pub(in crate::server::layers) fn received(
        &self,
        bytes: u64,
        whole: bool,
        half: bool,
    ) -> Result<(), Full> {
        self.grow(bytes)?;
        lock(&self.0.work).received += bytes;
        self.with(|account| {
            if whole {
                (account.awaited, account.receiving) = (None, None);
            }
            match half {
                true => _ = account.receiving.get_or_insert_with(Instant::now),
                false => account.receiving = None,
            }
        });
        Ok(())
    }

    /// Notes a complete message of a stream, which is given back when it is done.
    pub(super) fn complete(&self, size: u64) {
        let mut work = lock(&self.0.work);
        let position = work.next;
        work.next += 1;
        work.complete.insert(position, size);
    }

    /// Gives back messages that nobody will tell the end of.
    pub(super) fn drop_complete(&self, size: u64) {
        {
            let mut work = lock(&self.0.work);
            work.received = work.received.saturating_sub(size);
        }
        self.shrink(size);
    }

    /// Whether complete messages of more than `most` bytes are still in work; if so, the reader is
    /// woken when one is done.
    pub(super) fn is_busy(&self, most: u64, context: &Context<'_>) -> bool {
        let mut work = lock(&self.0.work);
        let busy = work.complete.values().sum::<u64>() > most;
        work.reader = busy.then(|| context.waker().clone());
        busy
    }

    /// The request has been worked on: nothing of it is held any more.
    pub(super) fn request_done(&self) {
        let received = std::mem::take(&mut lock(&self.0.work).received);
        self.shrink(received);
        self.with(|account| account.receiving = None);
    }

    /// Puts what is to be read of a reply's message in place, or takes it away.
    ///
    /// # Errors
    /// It had to be given up.
    pub(super) fn reply<T>(&self, change: impl FnOnce(&mut Option<Bytes>) -> T) -> Result<T, Full> {
        let changed = self.with(|account| {
            if account.is_given_up() {
                return None;
            }
            let done = change(&mut account.reply);
            account.unread = account.reply.as_ref().map(|_| Instant::now());
            Some(done)
        });
        changed.flatten().ok_or_else(|| self.refusal())
    }

    /// The stream's message at `position` is held until what this returns is dropped.
    pub fn of_message(&self, position: u64) -> MessageBytes {
        MessageBytes { call: self.clone(), position }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let mut ledger = lock(&self.budget.0.ledger);
        if let Some(account) = ledger.calls.remove(&self.id)
            && !account.is_given_up()
        {
            ledger.less(account.caller(), charge(account.held));
        }
    }
}

/// A message of a stream that is in work.
#[derive(Debug)]
pub struct MessageBytes {
    call: CallBytes,
    position: u64,
}

impl Drop for MessageBytes {
    fn drop(&mut self) {
        let (size, reader) = {
            let mut work = lock(&self.call.0.work);
            let size = work.complete.remove(&self.position).unwrap_or(0);
            work.received = work.received.saturating_sub(size);
            (size, work.reader.take())
        };
        self.call.shrink(size);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
