//! Who does the work: the caller's thread, the pool, or a team of spinning threads.
//!
//! A decode step has some two hundred products, each shorter than it takes to put a thread to sleep
//! and wake it. During a step the pool's threads therefore form a [`Team`]: they spin until the
//! next product. They spin through the leader's serial parts too (norms, rotation, writes to the
//! cache), so a team uses all its cores for as long as it lives.

use std::cell::UnsafeCell;
use std::hint;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// The threads that share the tasks of an operation.
///
/// What an operation computes does not depend on the choice.
#[derive(Debug, Clone, Copy)]
pub enum Threads<'t> {
    /// The caller's thread alone.
    One,
    /// All threads of rayon's current pool, which sleep between operations.
    Pool,
    /// All threads of a team, see [`with_team`].
    Team(&'t Team<'t>),
}

impl Threads<'_> {
    /// How many threads there are.
    pub fn count(self) -> usize {
        match self {
            Self::One => 1,
            Self::Pool => rayon::current_num_threads(),
            Self::Team(team) => team.shared.next.len(),
        }
    }

    /// Calls `work` once for each of `0..tasks`; a thread takes neighbouring tasks while it can.
    ///
    /// # Panics
    ///
    /// Panics when a task does.
    pub fn each(self, tasks: usize, work: impl Fn(usize) + Sync) {
        #[cfg(test)]
        let work = crate::testing::in_form_of_caller(work);
        match self {
            Self::Pool if tasks > 1 => (0..tasks).into_par_iter().for_each(&work),
            Self::Team(team) if tasks > 1 => team.each(tasks, &work),
            _ => (0..tasks).for_each(work),
        }
    }

    /// Calls `work` once for each item, which it owns: the way to hand every task its part of an
    /// output.
    ///
    /// # Panics
    ///
    /// Panics when a task does; items of tasks that have not run are then leaked.
    pub fn each_of<T: Send>(self, items: impl IntoIterator<Item = T>, work: impl Fn(T) + Sync) {
        if matches!(self, Self::One) {
            return items.into_iter().for_each(work);
        }
        let items: Vec<Slot<T>> = items.into_iter().map(Slot::new).collect();
        self.each(items.len(), |i| {
            // SAFETY: `each` calls this once for every `i`.
            work(unsafe { items[i].take() });
        });
    }
}

/// An item that one thread takes.
struct Slot<T>(UnsafeCell<ManuallyDrop<T>>);

// SAFETY: the one access is `take`, by one thread as its caller promises; the item moves to it.
unsafe impl<T: Send> Sync for Slot<T> {}

impl<T> Slot<T> {
    fn new(item: T) -> Self {
        Self(UnsafeCell::new(ManuallyDrop::new(item)))
    }

    /// # Safety
    ///
    /// Called once for a slot, by any thread.
    unsafe fn take(&self) -> T {
        // SAFETY: nobody else has accessed the slot or will, by the caller's promise.
        unsafe { ManuallyDrop::take(&mut *self.0.get()) }
    }
}

/// Runs `work` on a thread of the pool, which leads a team of the pool's other threads until `work`
/// returns. With one thread there is no team.
///
/// Threads that are busy elsewhere join when they are free; the leader does not wait for them.
///
/// # Panics
///
/// Panics when `work` or a task of the team does.
pub fn with_team<R: Send>(work: impl FnOnce(Threads<'_>) -> R + Send) -> R {
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return work(Threads::One);
    }
    #[cfg(test)]
    let form = crate::testing::form();
    let shared = Shared {
        gate: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
        job: UnsafeCell::new(None),
        next: (0..threads).map(|_| Counter(AtomicUsize::new(0))).collect(),
    };
    rayon::scope(|scope| {
        let shared = &shared;
        for member in 1..threads {
            scope.spawn(move |_| shared.serve(member));
        }
        let end = End(shared);
        let team = Team { shared, one_leader: PhantomData };
        #[cfg(test)]
        let result = crate::testing::in_form(form, || work(Threads::Team(&team)));
        #[cfg(not(test))]
        let result = work(Threads::Team(&team));
        drop(end);
        result
    })
}

/// The leader's handle. Not `Sync`: only the leader hands out tasks, and no task can.
#[derive(Debug)]
pub struct Team<'t> {
    shared: &'t Shared,
    one_leader: PhantomData<*mut ()>,
}

impl Team<'_> {
    fn each(&self, tasks: usize, work: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime is given up, and `close` below waits until nobody uses `work`.
        let work = unsafe {
            std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(work)
        };
        let job = Job { work, tasks };
        let shared = self.shared;
        // SAFETY: the gate is closed and nobody is inside, so only this thread, the one leader,
        // has access.
        unsafe { *shared.job.get() = Some(job) };
        for (member, next) in shared.next.iter().enumerate() {
            next.0.store(shared.first_task(job, member), Ordering::Relaxed);
        }
        shared.gate.store(OPEN, Ordering::Release);
        let close = Close(shared);
        shared.run_tasks(job, 0);
        drop(close);
    }
}

/// What the threads of a team share.
struct Shared {
    /// How many helpers are inside the job, and whether more may enter.
    gate: AtomicUsize,
    ended: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    /// The next task of each member's part.
    next: Box<[Counter]>,
}

// SAFETY: the job is written while no helper is inside the gate and read inside it.
unsafe impl Sync for Shared {}

/// Cache-line aligned, against false sharing.
#[repr(align(64))]
struct Counter(AtomicUsize);

#[derive(Clone, Copy)]
struct Job {
    work: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
}

/// The bit of the gate that lets helpers in.
const OPEN: usize = 1 << (usize::BITS - 1);

/// Turns of a waiting loop, some microseconds together, after which a thread offers its core to
/// others.
const SPINS_BEFORE_YIELD: u32 = 256;

/// One turn of a waiting loop, the `spins`th.
fn spin(spins: &mut u32) {
    *spins = spins.wrapping_add(1);
    if spins.is_multiple_of(SPINS_BEFORE_YIELD) {
        thread::yield_now();
    } else {
        hint::spin_loop();
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.next.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The first task of a member's part.
    fn first_task(&self, job: Job, member: usize) -> usize {
        job.tasks * member / self.next.len()
    }

    /// Runs the tasks of the member's own part, then those that the others have not begun.
    fn run_tasks(&self, job: Job, member: usize) {
        let threads = self.next.len();
        for part in (member..threads).chain(0..member) {
            let end = self.first_task(job, part + 1);
            loop {
                let task = self.next[part].0.fetch_add(1, Ordering::Relaxed);
                if task >= end {
                    break;
                }
                (job.work)(task);
            }
        }
    }

    /// Helps with every job until the team ends.
    fn serve(&self, member: usize) {
        let mut spins = 0;
        while !self.ended.load(Ordering::Acquire) {
            if self.enter() {
                let inside = Inside(self);
                // SAFETY: inside the gate, where the job is only read.
                if let Some(job) = unsafe { *self.job.get() } {
                    self.run_tasks(job, member);
                }
                drop(inside);
                spins = 0;
            }
            spin(&mut spins);
        }
    }

    fn enter(&self) -> bool {
        let gate = self.gate.load(Ordering::Relaxed);
        gate & OPEN != 0
            && self
                .gate
                .compare_exchange(gate, gate + 1, Ordering::Acquire, Ordering::Relaxed)
                .is_ok()
    }
}

/// Counts a helper out, also when its task panics.
struct Inside<'a>(&'a Shared);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_sub(1, Ordering::Release);
    }
}

/// Closes the gate and waits for the helpers inside, also when the leader's task panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::Relaxed);
        let mut spins = 0;
        while self.0.gate.load(Ordering::Acquire) != 0 {
            spin(&mut spins);
        }
    }
}

/// Dismisses the helpers, also when the leader panics.
struct End<'a>(&'a Shared);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads")
    }

    /// Every task adds to numbers of its own; afterwards the caller sees all of it.
    fn count(threads: Threads<'_>, tasks: usize) {
        let (mut counts, mut sums) = (vec![0; 3 * tasks], vec![0; tasks]);
        let parts = counts.chunks_mut(3).zip(&mut sums).enumerate();
        threads.each_of(parts, |(i, (counts, sum))| {
            for count in counts {
                *count += 1;
            }
            *sum += i;
        });
        assert_eq!(counts, vec![1; 3 * tasks]);
        assert_eq!(sums, (0..tasks).collect::<Vec<_>>());
    }

    #[test]
    fn every_task_runs_once_and_is_seen() {
        for threads in [1, 2, 3, 8] {
            pool(threads).install(|| {
                with_team(|team| {
                    for tasks in (0..40).cycle().take(4000) {
                        count(team, tasks);
                    }
                });
                for tasks in 0..40 {
                    count(Threads::Pool, tasks);
                    count(Threads::One, tasks);
                }
            });
        }
    }

    #[test]
    fn an_item_is_dropped_once() {
        let item = std::sync::Arc::new(());
        let items = vec![item.clone(); 100];
        pool(3).install(|| with_team(|team| team.each_of(items, drop)));
        assert_eq!(std::sync::Arc::strong_count(&item), 1);
    }

    #[test]
    fn a_pool_that_is_busy_leaves_the_leader_to_work_alone() {
        pool(2).scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|_| {
                    let total = with_team(|team| {
                        let total = AtomicUsize::new(0);
                        team.each(100, |i| {
                            total.fetch_add(i, Ordering::Relaxed);
                        });
                        total.into_inner()
                    });
                    assert_eq!(total, 4950);
                });
            }
        });
    }

    #[test]
    fn a_panic_in_a_task_ends_the_team() {
        for broken in [0, 99] {
            let ended = std::panic::catch_unwind(|| {
                pool(3).install(|| {
                    with_team(|team| team.each(100, |i| assert_ne!(i, broken, "on purpose")));
                });
            });
            assert!(ended.is_err());
        }
    }

    #[test]
    fn tasks_run_in_the_form_of_the_caller() {
        use crate::testing::{form, on_every_form};
        on_every_form(|| {
            let want = form();
            pool(2).install(|| {
                crate::testing::in_form(want, || {
                    with_team(|team| team.each(64, |_| assert_eq!(form(), want)));
                    Threads::Pool.each(64, |_| assert_eq!(form(), want));
                });
            });
        });
    }
}
