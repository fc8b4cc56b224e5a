//! A thread that does a device's jobs one after the other, so that no vCPU waits for the host.

use crate::virtio::Wake;
use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};

/// The thread, which ends when this is dropped, and the lists of jobs `J` and results `R` between it and the device.
/// Results come in the order of the jobs.
pub struct Worker<J, R> {
    shared: Arc<Shared<J, R>>,
    cancel: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Shared<J, R> {
    lists: Mutex<Lists<J, R>>,
    changed: Condvar,
    work: Mutex<Box<dyn FnMut(J) -> R + Send>>,
}

struct Lists<J, R> {
    waiting: VecDeque<J>,
    done: VecDeque<R>,
    busy: bool,
    /// The thread is telling the device, which may have to wait for somebody's lock.
    waking: bool,
    stop: bool,
    ended: bool,
    wake: Option<Arc<Wake>>,
}

impl<J, R> Shared<J, R> {
    fn lock(&self) -> MutexGuard<'_, Lists<J, R>> {
        self.lists.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn wait<'a>(&self, lists: MutexGuard<'a, Lists<J, R>>) -> MutexGuard<'a, Lists<J, R>> {
        self.changed.wait(lists).unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn next(&self) -> Option<J> {
        let mut lists = self.lock();
        loop {
            if lists.stop {
                return None;
            }
            if let Some(job) = lists.waiting.pop_front() {
                lists.busy = true;
                return Some(job);
            }
            lists = self.wait(lists);
        }
    }

    /// Does a job that was taken from the list; `busy` is set.
    fn work(&self, job: J) -> R {
        (self.work.lock().unwrap_or_else(|poisoned| poisoned.into_inner()))(job)
    }

    fn finish(&self, result: R) {
        let mut lists = self.lock();
        lists.busy = false;
        lists.done.push_back(result);
        let wake = lists.wake.clone();
        lists.waking = wake.is_some();
        self.changed.notify_all();
        drop(lists);
        // Not under the lock: the woken transport takes it. Nor before the worker counts as idle: the transport may be
        // waiting for that with its cell locked.
        if let Some(wake) = wake {
            wake();
            self.lock().waking = false;
        }
    }
}

/// Marks the end of the thread, also when the job panicked: nobody waits for it any more.
struct End<'a, J, R>(&'a Shared<J, R>);

impl<J, R> Drop for End<'_, J, R> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl<J: Send + 'static, R: Send + 'static> Worker<J, R> {
    /// Starts a thread called `name` that does jobs with `work`, which looks at `cancel` from time to time and ends early,
    /// with any result, when it is set.
    ///
    /// # Errors
    /// When the host refuses a thread.
    pub fn start(name: &str, cancel: Arc<AtomicBool>, work: impl FnMut(J) -> R + Send + 'static) -> io::Result<Self> {
        let lists = Lists {
            waiting: VecDeque::new(),
            done: VecDeque::new(),
            busy: false,
            waking: false,
            stop: false,
            ended: false,
            wake: None,
        };
        let (lists, work) = (Mutex::new(lists), Mutex::new(Box::new(work) as Box<_>));
        let shared = Arc::new(Shared { lists, changed: Condvar::new(), work });
        let in_thread = shared.clone();
        let run = move || {
            let _end = End(&*in_thread);
            while let Some(job) = in_thread.next() {
                in_thread.finish(in_thread.work(job));
            }
        };
        let thread = thread::Builder::new().name(name.into()).spawn(run)?;
        Ok(Self { shared, cancel, thread: Some(thread) })
    }

    /// `wake` is called on the thread after each job.
    pub fn on_done(&self, wake: Wake) {
        self.shared.lock().wake = Some(Arc::new(wake));
    }

    /// Appends a job.
    pub fn submit(&self, job: J) {
        self.shared.lock().waiting.push_back(job);
        self.shared.changed.notify_all();
    }

    /// Takes the results that have come since the last call.
    pub fn take_done(&self) -> VecDeque<R> {
        std::mem::take(&mut self.shared.lock().done)
    }

    /// Returns when all jobs are done. While the thread is held up in waking the device, which may be waiting for a lock of
    /// the caller's, they are done by the caller.
    pub fn wait_idle(&self) {
        let mut lists = self.shared.lock();
        while !lists.ended {
            if lists.busy || !lists.waking && !lists.waiting.is_empty() {
                lists = self.shared.wait(lists);
                continue;
            }
            let Some(job) = lists.waiting.pop_front() else { break };
            lists.busy = true;
            drop(lists);
            let result = self.shared.work(job);
            lists = self.shared.lock();
            lists.busy = false;
            lists.done.push_back(result);
            self.shared.changed.notify_all();
        }
    }

    /// Drops all jobs and results; when this returns none is under way.
    pub fn cancel(&self) {
        self.shared.lock().waiting.clear();
        self.cancel.store(true, Ordering::Release);
        self.wait_idle();
        self.cancel.store(false, Ordering::Release);
        self.shared.lock().done.clear();
    }
}

impl<J, R> Drop for Worker<J, R> {
    fn drop(&mut self) {
        self.cancel.store(true, Ordering::Release);
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        // The last handle of the machine may be the one that the thread itself woke the device through.
        if let Some(thread) = self.thread.take().filter(|thread| thread.thread().id() != thread::current().id()) {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn doubling() -> Worker<u32, u32> {
        Worker::start("test", Arc::default(), |job| job * 2).unwrap()
    }

    #[test]
    fn results_come_in_order_and_each_wakes() {
        let worker = doubling();
        let (to, woken) = mpsc::channel();
        worker.on_done(Box::new(move || to.send(()).unwrap()));
        (0..100).for_each(|job| worker.submit(job));
        (0..100).for_each(|_| woken.recv().unwrap());
        assert!(worker.take_done().into_iter().eq((0..100).map(|job| job * 2)));
        assert!(worker.take_done().is_empty());
    }

    #[test]
    fn who_waits_does_what_the_thread_cannot_begin() {
        let worker = doubling();
        let (device, (to, woken)) = (Arc::new(Mutex::new(())), mpsc::channel());
        let locked = device.lock().unwrap();
        let in_wake = device.clone();
        worker.on_done(Box::new(move || {
            to.send(()).unwrap();
            drop(in_wake.lock());
        }));
        worker.submit(1);
        woken.recv().unwrap();
        (2..10).for_each(|job| worker.submit(job));
        worker.wait_idle();
        assert!(worker.take_done().into_iter().eq((1..10).map(|job| job * 2)));
        drop(locked);
    }

    #[test]
    fn cancelling_drops_jobs_and_results() {
        let cancel = Arc::new(AtomicBool::new(false));
        let (seen, (started, has_started)) = (cancel.clone(), mpsc::channel());
        let worker = Worker::start("test", cancel, move |job: u32| {
            started.send(job).unwrap();
            while !seen.load(Ordering::Acquire) {
                thread::yield_now();
            }
        })
        .unwrap();
        (0..3).for_each(|job| worker.submit(job));
        assert_eq!(has_started.recv(), Ok(0));
        worker.cancel();
        assert!(worker.take_done().is_empty());
        worker.submit(7);
        assert_eq!(has_started.recv(), Ok(7), "the dropped jobs were never started");
    }

    #[test]
    fn a_panic_leaves_nobody_waiting() {
        let worker: Worker<u32, u32> = Worker::start("test", Arc::default(), |_| panic!("as the test wants")).unwrap();
        worker.submit(1);
        worker.wait_idle();
        worker.submit(2);
        worker.cancel();
    }

    #[test]
    fn the_thread_itself_may_drop_the_worker() {
        let slot = Arc::new(Mutex::new(None));
        let (worker, (to, dropped)) = (doubling(), mpsc::channel());
        let last = slot.clone();
        worker.on_done(Box::new(move || {
            drop(last.lock().unwrap().take());
            let _ = to.send(());
        }));
        let mut holder = slot.lock().unwrap();
        worker.submit(1);
        *holder = Some(worker);
        drop(holder);
        assert_eq!(dropped.recv(), Ok(()));
    }
}
