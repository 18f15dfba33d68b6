// SPDX-License-Identifier: BSD-2-Clause
// perf_event_open as a guest sees it: no hardware counters, refused with an errno that tools know;
// software counters and sampling by timer work.
#include "check.hpp"

#include <cstddef>
#include <linux/perf_event.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

namespace {

using namespace test;

constexpr unsigned page = 4096;

perf_event_attr attributes(unsigned type, std::uint64_t config) {
    perf_event_attr attr{};
    attr.size = sizeof attr;
    attr.type = type;
    attr.config = config;
    attr.disabled = 1;
    return attr;
}

int open_counter(perf_event_attr attr) {
    return static_cast<int>(syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
}

/// What perf takes for "this machine has no such counter" rather than for a defect.
bool is_polite(int error) {
    return error == ENOENT || error == EOPNOTSUPP || error == ENODEV;
}

void refused(const char* name, perf_event_attr attr) {
    errno = 0;
    const int counter = open_counter(attr);
    if (counter >= 0)
        fail("%s: a guest without a PMU got a counter", name);
    else if (!is_polite(errno))
        fail("%s: refused with %s", name, std::strerror(errno));
    std::printf("%s: %s\n", name, std::strerror(errno));
}

void hardware() {
    refused("cycles", attributes(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES));
    refused("instructions", attributes(PERF_TYPE_HARDWARE, PERF_COUNT_HW_INSTRUCTIONS));
    refused("cache misses", attributes(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CACHE_MISSES));
    refused("L1D loads", attributes(PERF_TYPE_HW_CACHE, PERF_COUNT_HW_CACHE_L1D));
    refused("raw event 3c", attributes(PERF_TYPE_RAW, 0x3c));
    perf_event_attr sampled = attributes(PERF_TYPE_HARDWARE, PERF_COUNT_HW_CPU_CYCLES);
    sampled.sample_period = 100'000;
    sampled.sample_type = PERF_SAMPLE_IP;
    sampled.precise_ip = 2;
    refused("precise samples", sampled);
}

template <typename Work>
std::uint64_t counted(const char* name, std::uint64_t config, Work&& work) {
    const int counter = open_counter(attributes(PERF_TYPE_SOFTWARE, config));
    if (counter < 0)
        return fail("%s: %s", name, std::strerror(errno)), 0;
    ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
    work();
    ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
    std::uint64_t value = 0;
    if (read(counter, &value, sizeof value) != sizeof value)
        fail("%s: cannot be read", name);
    close(counter);
    std::printf("%s: %lu\n", name, value);
    return value;
}

void spin(std::uint64_t nanoseconds) {
    const std::uint64_t end = now_ns(CLOCK_THREAD_CPUTIME_ID) + nanoseconds;
    while (now_ns(CLOCK_THREAD_CPUTIME_ID) < end) {
    }
}

void software() {
    constexpr unsigned pages = 64, switches = 50;
    expect(counted("page faults", PERF_COUNT_SW_PAGE_FAULTS,
                   [] {
                       void* memory = mmap(nullptr, pages * page, PROT_READ | PROT_WRITE,
                                           MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                       for (unsigned n = 0; n < pages; ++n)
                           static_cast<volatile char*>(memory)[n * page] = 1;
                       munmap(memory, pages * page);
                   }) >= pages,
           "each page touched is a fault");
    expect(counted("context switches", PERF_COUNT_SW_CONTEXT_SWITCHES,
                   [] {
                       for (unsigned n = 0; n < switches; ++n)
                           usleep(1000);
                   }) >= switches,
           "each sleep is a switch");
    const std::uint64_t clock =
        counted("task clock", PERF_COUNT_SW_TASK_CLOCK, [] { spin(50'000'000); });
    expect(clock >= 40'000'000 && clock < 5'000'000'000, "the task's clock counts its time");
}

/// Samples of a software event, through the ring that perf record reads.
void samples() {
    perf_event_attr attr = attributes(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_CPU_CLOCK);
    attr.sample_period = 1'000'000;
    attr.sample_type = PERF_SAMPLE_IP;
    const int counter = open_counter(attr);
    if (counter < 0)
        return fail("samples: %s", std::strerror(errno));
    void* ring = mmap(nullptr, 9 * page, PROT_READ | PROT_WRITE, MAP_SHARED, counter, 0);
    if (ring == MAP_FAILED)
        return fail("samples: no ring: %s", std::strerror(errno));
    ioctl(counter, PERF_EVENT_IOC_ENABLE, 0);
    spin(300'000'000);
    ioctl(counter, PERF_EVENT_IOC_DISABLE, 0);
    const auto* head = static_cast<const perf_event_mmap_page*>(ring);
    const auto* data = static_cast<const char*>(ring) + page;
    const std::uint64_t end = __atomic_load_n(&head->data_head, __ATOMIC_ACQUIRE);
    unsigned count = 0;
    for (std::uint64_t at = 0; at < end && at < 8 * page - sizeof(perf_event_header);) {
        const auto* record = reinterpret_cast<const perf_event_header*>(data + at);
        if (record->size == 0)
            return fail("samples: a record without length");
        count += record->type == PERF_RECORD_SAMPLE ? 1 : 0;
        at += record->size;
    }
    std::printf("samples in 300 ms: %u\n", count);
    expect(count >= 10, "a busy task is sampled");
    munmap(ring, 9 * page);
    close(counter);
}

} // namespace

int main() {
    hardware();
    software();
    samples();
    return finish("counters");
}
