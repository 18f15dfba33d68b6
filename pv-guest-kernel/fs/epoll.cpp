// SPDX-License-Identifier: BSD-2-Clause
// epoll(7): interests that observe their files' queues, and a list of those that may be ready.
#include "epoll.hpp"
#include "syscall_support.hpp"
#include <kernel/process_api.hpp>
#include <kernel/time.hpp>

#include <new>

namespace kernel {

namespace {

constexpr std::uint32_t edge_triggered = 1U << 31U;
constexpr std::uint32_t one_shot = 1U << 30U;
constexpr std::uint32_t event_mask = 0x3fff;

struct [[gnu::packed]] UserEvent {
    std::uint32_t events;
    std::uint64_t data;
};
static_assert(sizeof(UserEvent) == 12);

class Epoll;

/// One watched descriptor. In two lists: of the epoll file, and of the watched file.
struct Interest final : PollTable {
    struct Observer final : PollObserver {
        void triggered(std::uint32_t events) noexcept override;
        Interest* interest{};
        Observer* next{};
    };

    Interest(Epoll& owner, File& watched, int number, UserEvent wanted) noexcept
        : epoll{owner}, file{&watched}, fd{number}, events{wanted.events}, data{wanted.data} {}
    ~Interest() {
        for (Observer* at = &first; at != nullptr;) {
            Observer* next = at->next;
            if (at->queue != nullptr)
                at->queue->remove(*at);
            if (at != &first)
                delete at;
            at = next;
        }
    }
    Interest(const Interest&) = delete;
    Interest& operator=(const Interest&) = delete;

    void watch(PollQueue& queue) noexcept override {
        Observer* observer = &first;
        if (first.queue != nullptr) {
            observer = new (std::nothrow) Observer;
            if (observer == nullptr)
                return;
            observer->next = first.next;
            first.next = observer;
        }
        observer->interest = this;
        queue.add(*observer);
    }
    [[nodiscard]] std::uint32_t ready_now() const noexcept {
        constexpr std::uint32_t always = poll_event::err | poll_event::hup;
        return file->ops->poll(*file, nullptr) & (events | always) & event_mask;
    }

    Epoll& epoll;
    File* file; ///< not referenced: the file tells when it goes
    int fd;
    std::uint32_t events;
    std::uint64_t data;
    Observer first;
    cero::ListLink all_link;
    cero::ListLink ready_link;
    Interest* next_of_file{};
};

/// An epoll file. `lock` guards the interests, `ready_lock` (event context) the ready list.
class Epoll {
public:
    using All = cero::IntrusiveList<Interest, &Interest::all_link>;
    using Ready = cero::IntrusiveList<Interest, &Interest::ready_link>;

    Epoll() noexcept = default;
    ~Epoll() {
        while (Interest* interest = all_.front())
            destroy(*interest);
    }
    Epoll(const Epoll&) = delete;
    Epoll& operator=(const Epoll&) = delete;

    void make_ready(Interest& interest) noexcept {
        {
            SpinGuard guard{ready_lock_};
            if (!interest.ready_link.is_linked())
                ready_.push_back(interest);
        }
        queue.notify(poll_event::readable);
    }

    Interest* find(const File& file, int fd) noexcept {
        for (Interest& interest : all_)
            if (interest.file == &file && interest.fd == fd)
                return &interest;
        return nullptr;
    }

    Status add(File& file, int fd, UserEvent event) noexcept {
        if (find(file, fd) != nullptr)
            return Errno::exist;
        auto* interest = new (std::nothrow) Interest{*this, file, fd, event};
        if (interest == nullptr)
            return Errno::nomem;
        all_.push_back(*interest);
        interest->next_of_file = static_cast<Interest*>(file.epoll_items);
        file.epoll_items = interest;
        (void)file.ops->poll(file, interest);
        make_ready(*interest);
        return {};
    }

    void destroy(Interest& interest) noexcept {
        auto* at = static_cast<Interest*>(interest.file->epoll_items);
        if (at == &interest) {
            interest.file->epoll_items = interest.next_of_file;
        } else {
            while (at->next_of_file != &interest)
                at = at->next_of_file;
            at->next_of_file = interest.next_of_file;
        }
        {
            SpinGuard guard{ready_lock_};
            Ready::remove(interest);
        }
        All::remove(interest);
        delete &interest;
    }

    /// Takes up to `count` ready interests. Level-triggered ones stay on the list.
    int collect(UserEvent* out, int count) noexcept {
        MutexGuard guard{lock};
        int found = 0;
        Ready still;
        for (;;) {
            Interest* interest = nullptr;
            {
                SpinGuard ready_guard{ready_lock_};
                if (found < count)
                    interest = ready_.pop_front();
            }
            if (interest == nullptr)
                break;
            const std::uint32_t events = interest->events == 0 ? 0 : interest->ready_now();
            if (events == 0)
                continue;
            out[found++] = {events, interest->data};
            if ((interest->events & one_shot) != 0)
                interest->events = 0;
            else if ((interest->events & edge_triggered) == 0)
                still.push_back(*interest);
        }
        SpinGuard ready_guard{ready_lock_};
        while (Interest* interest = still.pop_front())
            if (!interest->ready_link.is_linked())
                ready_.push_back(*interest);
        return found;
    }

    [[nodiscard]] bool may_be_ready() noexcept {
        SpinGuard guard{ready_lock_};
        return !ready_.empty();
    }

    Mutex lock;
    PollQueue queue;

private:
    Spinlock ready_lock_;
    All all_;
    Ready ready_;
};

void Interest::Observer::triggered(std::uint32_t) noexcept {
    interest->epoll.make_ready(*interest);
}

class EpollOps final : public FileOps {
public:
    void release(File& file) noexcept override { delete static_cast<Epoll*>(file.data); }
    std::uint32_t poll(File& file, PollTable* table) noexcept override {
        auto& epoll = *static_cast<Epoll*>(file.data);
        if (table != nullptr)
            table->watch(epoll.queue);
        return epoll.may_be_ready() ? poll_event::readable : 0;
    }
};
EpollOps epoll_ops;

Result<Epoll*> epoll_of(File& file) noexcept {
    if (file.ops != &epoll_ops)
        return Errno::inval;
    return static_cast<Epoll*>(file.data);
}

Result<int> sys_epoll_create1(std::uint32_t flags) noexcept {
    if ((flags & ~open_flag::cloexec) != 0)
        return Errno::inval;
    auto* epoll = new (std::nothrow) Epoll;
    if (epoll == nullptr)
        return Errno::nomem;
    auto file = File::create_anonymous(epoll_ops, "[eventpoll]", epoll, open_flag::rdwr);
    if (!file) {
        delete epoll;
        return file.error();
    }
    return current_files().install(*std::move(file), flags != 0);
}
Result<int> sys_epoll_create(int size) noexcept {
    return size <= 0 ? Result<int>{Errno::inval} : sys_epoll_create1(0);
}

Status sys_epoll_ctl(int epfd, int operation, int fd, UserAddress event) noexcept {
    enum : int { add = 1, remove = 2, modify = 3 };
    auto epoll_file = TRY(io_file_of(epfd));
    auto file = TRY(io_file_of(fd));
    Epoll& epoll = *TRY(epoll_of(*epoll_file));
    if (file.get() == epoll_file.get())
        return Errno::inval;
    if (file->inode && (file->inode->is_regular() || file->inode->is_directory()))
        return Errno::perm;
    UserEvent wanted{};
    if (operation != remove)
        wanted = TRY(read_user<UserEvent>(event));
    MutexGuard guard{epoll.lock};
    if (operation == add)
        return epoll.add(*file, fd, wanted);
    Interest* interest = epoll.find(*file, fd);
    if (interest == nullptr)
        return Errno::noent;
    if (operation == remove) {
        epoll.destroy(*interest);
        return {};
    }
    if (operation != modify)
        return Errno::inval;
    interest->events = wanted.events;
    interest->data = wanted.data;
    epoll.make_ready(*interest);
    return {};
}

Result<int> wait_for_events(int epfd, UserAddress out, int count, Nanoseconds deadline) noexcept {
    constexpr int batch = 64;
    if (count <= 0)
        return Errno::inval;
    auto file = TRY(io_file_of(epfd));
    Epoll& epoll = *TRY(epoll_of(*file));
    UserEvent events[batch];
    const int room = count < batch ? count : batch;
    for (bool last = deadline == 0;;) {
        const int found = epoll.collect(events, room);
        if (found != 0)
            TRY(copy_to_user(out, events, static_cast<std::size_t>(found) * sizeof(UserEvent)));
        if (found != 0 || last)
            return found;
        const Errno error =
            epoll.queue.waiters
                .wait_until_interruptible(deadline, [&] { return epoll.may_be_ready(); })
                .error();
        if (error == Errno::restart)
            return Errno::intr;
        last = error == Errno::timedout;
    }
}

Nanoseconds deadline_of(int timeout_ms) noexcept {
    if (timeout_ms < 0)
        return WaitQueue::no_deadline;
    return timeout_ms == 0 ? 0 : monotonic_ns() + static_cast<Nanoseconds>(timeout_ms) * ns_per_ms;
}

Result<int> sys_epoll_wait(int epfd, UserAddress out, int count, int timeout_ms) noexcept {
    return wait_for_events(epfd, out, count, deadline_of(timeout_ms));
}
Result<int> sys_epoll_pwait(int epfd, UserAddress out, int count, int timeout_ms,
                            UserAddress mask) noexcept {
    if (mask != 0)
        set_temporary_signal_mask(TRY(read_user<std::uint64_t>(mask)));
    return wait_for_events(epfd, out, count, deadline_of(timeout_ms));
}

CERO_SYSCALL(213, epoll_create);
CERO_SYSCALL(232, epoll_wait);
CERO_SYSCALL(233, epoll_ctl);
CERO_SYSCALL(281, epoll_pwait);
CERO_SYSCALL(291, epoll_create1);

} // namespace

void epoll::file_closing(File& file) noexcept {
    while (auto* interest = static_cast<Interest*>(file.epoll_items))
        interest->epoll.destroy(*interest);
}

} // namespace kernel
