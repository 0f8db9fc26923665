//! The pool's threads during a decode step: they wait awake for its products, some two hundred and
//! each shorter than it takes to put a thread to sleep and wake it.

use std::cell::UnsafeCell;
use std::hint;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Who does the work.
#[derive(Debug, Clone, Copy)]
pub enum Split<'t> {
    /// The caller's thread alone.
    Alone,
    /// All threads of the pool.
    Team(&'t Team<'t>),
}

impl Split<'_> {
    /// Calls `work` once for each of `0..tasks`; a thread takes neighbours as long as it can.
    pub fn each(self, tasks: usize, work: impl Fn(usize) + Sync) {
        match self {
            Self::Team(team) if tasks > 1 => team.each(tasks, &work),
            _ => (0..tasks).for_each(work),
        }
    }

    /// Calls `work(i, chunk, item)` for each chunk of `width` with the item of the same place.
    pub fn chunks<A: Send, B: Send>(
        self,
        chunks: &mut [A],
        width: usize,
        items: &mut [B],
        work: impl Fn(usize, &mut [A], &mut B) + Sync,
    ) {
        assert_eq!(chunks.len(), width * items.len(), "a chunk for each item");
        let (tasks, chunks, items) =
            (items.len(), Start(chunks.as_mut_ptr()), Start(items.as_mut_ptr()));
        self.each(tasks, |i| {
            // SAFETY: task `i` runs once, and has its own chunk and item, inside both slices by the
            // assertion above; both are borrowed until all tasks are done.
            let (chunk, item) = unsafe {
                (std::slice::from_raw_parts_mut(chunks.at(i * width), width), &mut *items.at(i))
            };
            work(i, chunk, item);
        });
    }
}

/// Where a slice begins whose parts threads share out.
struct Start<T>(*mut T);

// SAFETY: what is reached through it is used by one thread at a time, as its user promises.
unsafe impl<T: Send> Sync for Start<T> {}

impl<T> Start<T> {
    /// # Safety
    ///
    /// Number `i` lies within the slice.
    unsafe fn at(&self, i: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(i) }
    }
}

/// Runs `work` on a thread of the pool, with the others at its service until it returns.
pub fn with_team<R: Send>(work: impl FnOnce(Split<'_>) -> R + Send) -> R {
    let threads = rayon::current_num_threads();
    if threads == 1 {
        return work(Split::Alone);
    }
    let shared = Shared {
        gate: AtomicUsize::new(0),
        ended: AtomicBool::new(false),
        job: UnsafeCell::new(None),
        next: (0..threads).map(|_| Counter(AtomicUsize::new(0))).collect(),
    };
    rayon::scope(|scope| {
        let shared = &shared;
        for place in 1..threads {
            scope.spawn(move |_| shared.serve(place));
        }
        let end = End(shared);
        let result = work(Split::Team(&Team { shared, one_leader: PhantomData }));
        drop(end);
        result
    })
}

/// The leader's handle. Not `Sync`, so that one thread alone hands work out, and no task does.
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
        // SAFETY: the gate is closed and nobody inside, so only this thread, the one leader, has it.
        unsafe { *shared.job.get() = Some(job) };
        for (place, next) in shared.next.iter().enumerate() {
            next.0.store(shared.part(job, place), Ordering::Relaxed);
        }
        shared.gate.store(OPEN, Ordering::Release);
        let close = Close(shared);
        shared.take(job, 0);
        drop(close);
    }
}

/// What the threads of a team share.
struct Shared {
    /// How many helpers are inside the job, and whether more may enter.
    gate: AtomicUsize,
    ended: AtomicBool,
    job: UnsafeCell<Option<Job>>,
    /// The next task of each thread's part.
    next: Box<[Counter]>,
}

// SAFETY: the job is written while no helper is inside the gate and read inside it.
unsafe impl Sync for Shared {}

/// On a line of its own: threads count without disturbing one another.
#[repr(align(64))]
struct Counter(AtomicUsize);

#[derive(Clone, Copy)]
struct Job {
    work: &'static (dyn Fn(usize) + Sync),
    tasks: usize,
}

/// The bit of the gate that lets helpers in.
const OPEN: usize = 1 << (usize::BITS - 1);

/// Looks at the gate between which a helper offers its core to others: some microseconds.
const LOOKS: u32 = 256;

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("threads", &self.next.len()).finish_non_exhaustive()
    }
}

impl Shared {
    /// The first task of a thread's part.
    fn part(&self, job: Job, place: usize) -> usize {
        job.tasks * place / self.next.len()
    }

    /// Takes the tasks of the part at `place`, then what the others have left.
    fn take(&self, job: Job, place: usize) {
        let threads = self.next.len();
        for part in (place..threads).chain(0..place) {
            let end = self.part(job, part + 1);
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
    fn serve(&self, place: usize) {
        let mut looks = 0_u32;
        while !self.ended.load(Ordering::Acquire) {
            if self.enter() {
                let inside = Inside(self);
                // SAFETY: inside the gate, where the job is only read.
                if let Some(job) = unsafe { *self.job.get() } {
                    self.take(job, place);
                }
                drop(inside);
                looks = 0;
            }
            looks += 1;
            if looks.is_multiple_of(LOOKS) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
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

/// Lets nobody in any more and waits for those inside, also when the leader's task panics.
struct Close<'a>(&'a Shared);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.gate.fetch_and(!OPEN, Ordering::Relaxed);
        let mut looks = 0_u32;
        while self.0.gate.load(Ordering::Acquire) != 0 {
            looks += 1;
            if looks.is_multiple_of(LOOKS) {
                thread::yield_now();
            } else {
                hint::spin_loop();
            }
        }
    }
}

/// Sends the helpers home, also when the leader panics.
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

    #[test]
    fn every_task_runs_once_and_is_seen() {
        for threads in [1, 2, 3, 8] {
            pool(threads).install(|| {
                with_team(|split| {
                    for tasks in (0..40).cycle().take(4000) {
                        let (mut counts, mut sums) = (vec![0; 3 * tasks], vec![0; tasks]);
                        split.chunks(&mut counts, 3, &mut sums, |i, counts, sum| {
                            for count in counts {
                                *count += 1;
                            }
                            *sum += i;
                        });
                        assert_eq!(counts, vec![1; 3 * tasks]);
                        assert_eq!(sums, (0..tasks).collect::<Vec<_>>());
                    }
                });
            });
        }
    }

    #[test]
    fn a_pool_that_is_busy_leaves_the_leader_to_work_alone() {
        pool(2).scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|_| {
                    let total = with_team(|split| {
                        let total = AtomicUsize::new(0);
                        split.each(100, |i| {
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
                    with_team(|split| split.each(100, |i| assert_ne!(i, broken, "on purpose")));
                });
            });
            assert!(ended.is_err());
        }
    }
}
