// SPDX-License-Identifier: BSD-2-Clause
// Linux's ioctl interface to hypercalls, event channels, grants and foreign frames.
#include "control/kernel_devices.hpp"

#include "base/error.hpp"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace cero::control {

namespace {

struct privcmd_hypercall {
    std::uint64_t op;
    std::uint64_t arg[5];
};
struct privcmd_mmapbatch_v2 {
    unsigned int num;
    cero_domid dom;
    std::uint64_t addr;
    const cero_frame* arr;
    int* err;
};
struct evtchn_bind_virq {
    unsigned int virq;
};
struct evtchn_bind_interdomain {
    unsigned int remote_domain;
    unsigned int remote_port;
};
struct evtchn_port_argument {
    unsigned int port;
};
struct gntdev_map_one {
    std::uint32_t count;
    std::uint32_t pad;
    std::uint64_t index;
    std::uint32_t domid;
    std::uint32_t ref;
};
struct gntdev_unmap {
    std::uint64_t index;
    std::uint32_t count;
    std::uint32_t pad;
};

constexpr unsigned long ioctl_number(unsigned type, unsigned number, std::size_t size) {
    return _IOC(_IOC_NONE, type, number, size);
}
constexpr auto privcmd_hypercall_ioctl = ioctl_number('P', 0, sizeof(privcmd_hypercall));
constexpr auto privcmd_mmapbatch_v2_ioctl = ioctl_number('P', 4, sizeof(privcmd_mmapbatch_v2));
constexpr auto evtchn_bind_virq_ioctl = ioctl_number('E', 0, sizeof(evtchn_bind_virq));
constexpr auto evtchn_bind_interdomain_ioctl =
    ioctl_number('E', 1, sizeof(evtchn_bind_interdomain));
constexpr auto evtchn_unbind_ioctl = ioctl_number('E', 3, sizeof(evtchn_port_argument));
constexpr auto evtchn_notify_ioctl = ioctl_number('E', 4, sizeof(evtchn_port_argument));
constexpr auto gntdev_map_ioctl = ioctl_number('G', 0, sizeof(gntdev_map_one));
constexpr auto gntdev_unmap_ioctl = ioctl_number('G', 1, sizeof(gntdev_unmap));
constexpr auto xenbus_backend_evtchn_ioctl = ioctl_number('B', 0, 0);

constexpr std::size_t page_size = CERO_PAGE_SIZE;

Fd open_device(const char* path, const char* remedy) {
    Fd fd{::open(path, O_RDWR | O_CLOEXEC)};
    if (!fd)
        throw Error{ExitCode::not_control, fmt::format("{}: {}", path, errno_text(errno)), remedy};
    return fd;
}

} // namespace

Mapping& Mapping::operator=(Mapping&& other) noexcept {
    if (this != &other) {
        reset();
        address_ = std::exchange(other.address_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
        grant_fd_ = std::exchange(other.grant_fd_, -1);
        grant_index_ = other.grant_index_;
    }
    return *this;
}

void Mapping::reset() noexcept {
    if (address_ != nullptr)
        ::munmap(address_, bytes_);
    address_ = nullptr;
    if (grant_fd_ >= 0) {
        gntdev_unmap request{grant_index_, 1, 0};
        ::ioctl(grant_fd_, gntdev_unmap_ioctl, &request);
    }
    grant_fd_ = -1;
}

EventChannels::EventChannels()
    : fd_{open_device("/dev/xen/evtchn", "Run this in the control domain, with event channels in "
                                         "its kernel.")} {
    set_nonblocking(fd_.get());
}

int EventChannels::bind_virq(std::uint32_t virq) noexcept {
    evtchn_bind_virq request{virq};
    const int port = ::ioctl(fd_.get(), evtchn_bind_virq_ioctl, &request);
    return port < 0 ? -errno : port;
}

int EventChannels::bind_interdomain(cero_domid domain, cero_evtchn_port remote) noexcept {
    evtchn_bind_interdomain request{domain, remote};
    const int port = ::ioctl(fd_.get(), evtchn_bind_interdomain_ioctl, &request);
    return port < 0 ? -errno : port;
}

void EventChannels::unbind(cero_evtchn_port port) noexcept {
    evtchn_port_argument request{port};
    ::ioctl(fd_.get(), evtchn_unbind_ioctl, &request);
}

void EventChannels::notify(cero_evtchn_port port) noexcept {
    evtchn_port_argument request{port};
    ::ioctl(fd_.get(), evtchn_notify_ioctl, &request);
}

std::vector<cero_evtchn_port> EventChannels::take_pending() {
    std::vector<cero_evtchn_port> ports(64);
    const ssize_t n = ::read(fd_.get(), ports.data(), ports.size() * sizeof ports[0]);
    ports.resize(n > 0 ? static_cast<std::size_t>(n) / sizeof ports[0] : 0);
    return ports;
}

void EventChannels::unmask(cero_evtchn_port port) noexcept {
    (void)!::write(fd_.get(), &port, sizeof port);
}

Mapping GrantMapper::map(cero_domid domain, cero_grant_ref reference) noexcept {
    if (!fd_)
        fd_ = Fd{::open("/dev/xen/gntdev", O_RDWR | O_CLOEXEC)};
    if (!fd_)
        return {};
    gntdev_map_one request{1, 0, 0, domain, reference};
    if (::ioctl(fd_.get(), gntdev_map_ioctl, &request) != 0)
        return {};
    void* address = ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd_.get(),
                           static_cast<off_t>(request.index));
    if (address == MAP_FAILED) {
        const int error = errno;
        gntdev_unmap undo{request.index, 1, 0};
        ::ioctl(fd_.get(), gntdev_unmap_ioctl, &undo);
        errno = error;
        return {};
    }
    Mapping mapping{address, page_size};
    mapping.grant_fd_ = fd_.get();
    mapping.grant_index_ = request.index;
    return mapping;
}

Privcmd::Privcmd()
    : fd_{open_device("/dev/xen/privcmd", "Run this as root in the control domain.")} {}

long Privcmd::call(std::uint64_t number, const std::array<std::uint64_t, 5>& arguments) noexcept {
    privcmd_hypercall request{};
    request.op = number;
    std::memcpy(request.arg, arguments.data(), sizeof request.arg);
    const long result = ::ioctl(fd_.get(), privcmd_hypercall_ioctl, &request);
    return result < 0 ? -errno : result;
}

Mapping Privcmd::map_foreign(cero_domid domain, std::span<const cero_frame> frames,
                             bool writable) noexcept {
    const std::size_t bytes = frames.size() * page_size;
    void* address =
        ::mmap(nullptr, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd_.get(), 0);
    if (address == MAP_FAILED)
        return {};
    Mapping mapping{address, bytes};
    std::vector<int> errors(frames.size());
    privcmd_mmapbatch_v2 request{static_cast<unsigned>(frames.size()), domain,
                                 reinterpret_cast<std::uint64_t>(address), frames.data(),
                                 errors.data()};
    if (::ioctl(fd_.get(), privcmd_mmapbatch_v2_ioctl, &request) != 0)
        return {};
    for (const int error : errors)
        if (error != 0) {
            errno = -error;
            return {};
        }
    return mapping;
}

KernelStoreRing open_kernel_store_ring() {
    const Fd fd = open_device("/dev/xen/xenbus_backend", "The XenStore server runs in the control "
                                                         "domain only.");
    const int port = ::ioctl(fd.get(), xenbus_backend_evtchn_ioctl, 0);
    if (port <= 0)
        fail("/dev/xen/xenbus_backend: no event channel for XenStore: {}", errno_text(errno));
    void* address = ::mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
    if (address == MAP_FAILED)
        fail("/dev/xen/xenbus_backend: cannot map the ring: {}", errno_text(errno));
    return {Mapping{address, page_size}, static_cast<cero_evtchn_port>(port)};
}

HypercallBuffer::HypercallBuffer(std::size_t bytes) {
    const std::size_t size = (bytes + page_size - 1) & ~(page_size - 1);
    void* address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE,
                           MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (address == MAP_FAILED)
        fail("cannot allocate {} bytes for a hypercall: {}", size, errno_text(errno));
    memory_ = Mapping{address, size};
    if (::mlock(address, size) != 0) // without mlock, at least bring every page in
        for (std::size_t offset = 0; offset < size; offset += page_size)
            static_cast<volatile char*>(address)[offset] = 0;
}

} // namespace cero::control
