// SPDX-License-Identifier: BSD-2-Clause
// Scheduler: three levels of run queues, switching, kernel threads, the idle thread.
#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/hypercalls.hpp"
#include "arch/x86_64/user_context.hpp"
#include "event/upcall.hpp"
#include "sched/run_state.hpp"
#include "sched/thread.hpp"
#include "sched/timer_queue.hpp"

#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <cstring>

extern "C" {
void switch_stacks(void** save, void* load);
void start_kernel_thread();
void start_user_thread();
void finish_first_switch();
void end_kernel_thread();
}

namespace kernel {
namespace {

constexpr Nanoseconds time_slice = 10 * ns_per_ms;
constexpr Nanoseconds least_run = ns_per_ms;
constexpr unsigned level_count = 3;

using RunList = cero::IntrusiveList<Thread, &Thread::run_link>;

/// One per vCPU. Its lock is taken with events masked and held across the switch of stacks.
struct RunQueue {
    Spinlock lock;
    RunList lists[level_count];
    std::uint32_t queued{};
    Thread* current{};
    Thread* idle{};
    Thread* dead{}; ///< to be freed by whoever runs next
    bool resched{};
    std::uint64_t switches{};
    Nanoseconds slice_start{};
};
RunQueue queue;
ThreadList threads;
alignas(Thread) char idle_storage[sizeof(Thread)];
std::uint32_t thread_count;

/// The owner of a kernel stack is noted at its low end.
Thread*& stack_owner(char* stack) noexcept {
    return *reinterpret_cast<Thread**>(stack);
}
constexpr std::uint64_t stack_canary = 0x5afe57ac5afe57ac;
std::uint64_t& canary_of(char* stack) noexcept {
    return *reinterpret_cast<std::uint64_t*>(stack + sizeof(Thread*));
}

void enqueue(Thread& thread, bool front) noexcept {
    RunList& list = queue.lists[static_cast<unsigned>(thread.level)];
    if (front)
        list.push_front(thread);
    else
        list.push_back(thread);
    thread.on_queue = true;
    ++queue.queued;
}

Thread* dequeue() noexcept {
    for (RunList& list : queue.lists) {
        Thread* thread = list.pop_front();
        if (thread == nullptr)
            continue;
        thread->on_queue = false;
        --queue.queued;
        return thread;
    }
    return queue.idle;
}

void free_thread(Thread* thread) noexcept {
    char* stack = thread->stack;
    thread->~Thread();
    kfree(thread);
    free_pages(stack, 2);
}

/// Runs on the new thread's stack, right after a switch.
void finish_switch() noexcept {
    Thread* dead = queue.dead;
    queue.dead = nullptr;
    queue.lock.unlock();
    if (dead != nullptr)
        free_thread(dead);
}

void end_of_slice(void*) {
    queue.resched = true;
}
Timer slice_timer{end_of_slice, nullptr};

/// Charges the time since the switch; a thread that used its slice up sinks to the batch level.
void charge_slice(Thread& thread, Nanoseconds now) noexcept {
    const Nanoseconds used = now - queue.slice_start;
    if (thread.is_rationed) {
        if (thread.credit.is_spent(used))
            thread.level = RunLevel::batch;
        thread.credit.stopped(now, used);
        return;
    }
    if (thread.level == RunLevel::kernel)
        return;
    if (used < thread.slice_left) {
        thread.slice_left -= used;
        return;
    }
    thread.slice_left = time_slice;
    thread.level = RunLevel::batch;
}

/// A thread became runnable: when does it get the CPU? Between programs, a more urgent one lets the
/// other run for a moment first: a writer that wakes its reader with every byte would switch with
/// every byte.
void request_preemption(const Thread& woken) noexcept {
    const Thread& running = *queue.current;
    if (&running == queue.idle ||
        (woken.level < running.level && woken.level == RunLevel::kernel)) {
        queue.resched = true;
        return;
    }
    Nanoseconds when = queue.slice_start;
    if (woken.level < running.level)
        when += least_run;
    else if (!slice_timer.armed())
        when = monotonic_ns() + time_slice;
    else
        return;
    if (when <= monotonic_ns())
        queue.resched = true;
    else if (!slice_timer.armed() || slice_timer.deadline() > when)
        slice_timer.arm(when);
}

void wake_sleeper(void* context) {
    auto* thread = static_cast<Thread*>(context);
    thread->timed_out = true;
    make_runnable(*thread);
}

} // namespace

Thread::Thread() noexcept : wake_timer{wake_sleeper, this} {}
Thread::~Thread() {
    free_fpu(*this);
}

Thread* current() noexcept {
    return stack_owner(reinterpret_cast<char*>(stack_pointer() & ~(kernel_stack_size - 1)));
}
Process* current_process() noexcept {
    return current()->process;
}

bool need_resched() noexcept {
    return queue.resched;
}
void set_need_resched() noexcept {
    queue.resched = true;
}

bool any_thread_wants_cpu() noexcept {
    return queue.queued != 0 || queue.current != queue.idle;
}

Result<Thread*> create_thread(const char* name) noexcept {
    auto* storage = kzalloc(sizeof(Thread));
    if (storage == nullptr)
        return Errno::nomem;
    char* stack = static_cast<char*>(alloc_pages(2));
    if (stack == nullptr) {
        kfree(storage);
        return Errno::nomem;
    }
    auto* thread = ::new (storage) Thread;
    thread->stack = stack;
    stack_owner(stack) = thread;
    canary_of(stack) = stack_canary;
    thread->slice_left = time_slice;
    thread->state = ThreadState::sleeping;
    for (std::size_t i = 0; i + 1 < sizeof thread->name && name[i] != '\0'; ++i)
        thread->name[i] = name[i];
    EventGuard guard;
    threads.push_back(*thread);
    ++thread_count;
    return thread;
}

void discard_thread(Thread& thread) noexcept {
    {
        EventGuard guard;
        ThreadList::remove(thread);
        --thread_count;
    }
    free_thread(&thread);
}

namespace {
/// What switch_stacks pops: r15 r14 r13 r12 rbx rbp, return address.
void lay_switch_frame(Thread& thread, char* top, void (*first)(), std::uint64_t rbx,
                      std::uint64_t r12) {
    auto* words = reinterpret_cast<std::uint64_t*>(top) - 7;
    words[0] = words[1] = words[2] = 0;
    words[3] = r12;
    words[4] = rbx;
    words[5] = 0;
    words[6] = reinterpret_cast<std::uint64_t>(first);
    thread.saved_stack = words;
}
} // namespace

void prepare_kernel_entry(Thread& thread, void (*entry)(void*), void* argument) noexcept {
    lay_switch_frame(thread, thread.stack + kernel_stack_size, start_kernel_thread,
                     reinterpret_cast<std::uint64_t>(entry),
                     reinterpret_cast<std::uint64_t>(argument));
}

void prepare_user_entry(Thread& thread) noexcept {
    lay_switch_frame(thread, reinterpret_cast<char*>(&thread.user_frame()), start_user_thread, 0,
                     0);
}

Result<Thread*> spawn_kernel_thread(const char* name, void (*entry)(void*),
                                    void* argument) noexcept {
    Thread* thread = TRY(create_thread(name));
    prepare_kernel_entry(*thread, entry, argument);
    make_runnable(*thread);
    return thread;
}

void make_runnable(Thread& thread) noexcept {
    EventGuard events;
    queue.lock.lock();
    if (thread.state != ThreadState::dead) {
        thread.state = ThreadState::runnable;
        if (!thread.on_queue && &thread != queue.current) {
            if (thread.is_rationed) {
                if (thread.level == RunLevel::batch && thread.credit.may_rise(monotonic_ns()))
                    thread.level = RunLevel::kernel;
            } else if (thread.level == RunLevel::batch) {
                thread.level = RunLevel::interactive; // it slept by itself
                thread.slice_left = time_slice;
            }
            enqueue(thread, false);
            request_preemption(thread);
        }
    }
    queue.lock.unlock();
}

void interrupt_thread(Thread& thread) noexcept {
    if (thread.state == ThreadState::interruptible)
        make_runnable(thread);
}

void schedule() noexcept {
    EventGuard events;
    queue.lock.lock();
    Thread* previous = queue.current;
    if (canary_of(previous->stack) != stack_canary)
        panic("kernel stack of %s overflowed", previous->name);
    queue.resched = false;
    if (previous != queue.idle && previous->state == ThreadState::runnable) {
        if (queue.queued == 0) {
            queue.lock.unlock();
            return;
        }
        charge_slice(*previous, monotonic_ns());
        enqueue(*previous, false);
    } else if (previous->is_rationed ||
               (previous->level == RunLevel::interactive && queue.queued != 0)) {
        charge_slice(*previous, monotonic_ns());
    }
    Thread* next = dequeue();
    if (next == previous) {
        queue.slice_start = monotonic_ns(); // it was charged
        queue.lock.unlock();
        return;
    }
    const std::uint64_t now = read_tsc();
    account_system(*previous, now);
    next->switched_in = now;
    queue.current = next;
    ++queue.switches;
    queue.slice_start = monotonic_ns();
    if (next->is_rationed)
        next->credit.started(queue.slice_start);
    if (queue.queued != 0 && next->level != RunLevel::kernel)
        slice_timer.arm(queue.slice_start + next->slice_left);
    else
        slice_timer.cancel();
    if (previous->state == ThreadState::dead)
        queue.dead = previous;
    switch_user_context(*previous, *next);
    switch_stacks(&previous->saved_stack, next->saved_stack);
    finish_switch();
}

void exit_thread() noexcept {
    EventGuard guard;
    Thread* self = current();
    self->wake_timer.cancel();
    ThreadList::remove(*self);
    --thread_count;
    self->state = ThreadState::dead;
    schedule();
    panic("a dead thread ran");
}

void yield() noexcept {
    schedule();
}

void ration_this_thread() noexcept {
    EventGuard guard;
    current()->is_rationed = true;
    current()->credit.started(monotonic_ns());
}

bool should_give_way() noexcept {
    if (queue.resched)
        return true;
    if (queue.queued == 0)
        return false;
    // The hypervisor learns of timers on the way out of the kernel: it may not know of this one.
    const Nanoseconds now = monotonic_ns();
    const Thread& self = *queue.current;
    return (slice_timer.armed() && slice_timer.deadline() <= now) ||
           (self.level == RunLevel::kernel && self.credit.is_spent(now - queue.slice_start));
}

void give_way() noexcept {
    EventGuard guard;
    if (timer_needs_programming())
        program_timer();
    schedule();
}

void sleep_ns(Nanoseconds duration) noexcept {
    WaitQueue nobody;
    static_cast<void>(nobody.wait_until(monotonic_ns() + duration, [] { return false; }));
}

Status sleep_until_interruptible(Nanoseconds deadline) noexcept {
    WaitQueue nobody;
    const Status slept = nobody.wait_until_interruptible(deadline, [] { return false; });
    return slept.error() == Errno::timedout ? Errno::ok : slept.error();
}

ThreadList& all_threads() noexcept {
    return threads;
}

SchedulerCounters scheduler_counters() noexcept {
    return {queue.switches, queue.idle->system_cycles,
            queue.queued + (queue.current != queue.idle ? 1 : 0), thread_count};
}

void init_scheduler(char* boot_stack) noexcept {
    auto* idle = ::new (static_cast<void*>(idle_storage)) Thread;
    idle->stack = boot_stack;
    stack_owner(boot_stack) = idle;
    canary_of(boot_stack) = stack_canary;
    memcpy(idle->name, "idle", 5);
    idle->level = RunLevel::batch;
    queue.current = queue.idle = idle;
}

void idle_loop() noexcept {
    for (;;) {
        schedule();
        mask_events();
        if (queue.queued == 0 && !release_deferred_events()) {
            program_timer();
            // Unmasks and sleeps in one step; returns when an event was delivered.
            static_cast<void>(hyper::sched_op(CERO_SCHEDOP_block, nullptr));
        }
        unmask_events();
    }
}

} // namespace kernel

void finish_first_switch() {
    kernel::finish_switch();
    kernel::unmask_events();
}

void end_kernel_thread() {
    kernel::exit_thread();
}
