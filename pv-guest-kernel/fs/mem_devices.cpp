// SPDX-License-Identifier: BSD-2-Clause
// /dev/null, zero, full, random, urandom and kmsg.
#include "mem_devices.hpp"
#include "char_device.hpp"
#include "random.hpp"
#include <kernel/log.hpp>
#include <kernel/mapping.hpp>
#include <kernel/memory.hpp>
#include <kernel/page.hpp>

#include <new>

namespace kernel::mem_devices {

namespace {

class NullOps : public FileOps {
public:
    Result<std::size_t> read(File&, IoBuffer&, std::uint64_t) noexcept override {
        return std::size_t{0};
    }
    Result<std::size_t> write(File&, IoBuffer& buffer, std::uint64_t) noexcept override {
        const std::size_t size = buffer.remaining();
        buffer.advance(size);
        return size;
    }
    Result<std::uint64_t> seek(File&, std::int64_t, int) noexcept override {
        return std::uint64_t{0};
    }

protected:
    ~NullOps() = default;
};
class PlainNullOps final : public NullOps {};

/// Mapping /dev/zero gives fresh zero pages.
class ZeroMapping final : public Mappable {
public:
    Result<Page*> get_page(std::uint64_t, bool) override {
        Page* page = alloc_zeroed(PageUse::anonymous);
        if (page == nullptr)
            return Errno::nomem;
        return page;
    }
    void map_get() override {}
    void map_put() override {}
};

class ZeroOps : public NullOps {
public:
    Result<std::size_t> read(File&, IoBuffer& buffer, std::uint64_t) noexcept override {
        return buffer.put_zeros(buffer.remaining());
    }
    Result<Mappable*> mappable(File&) noexcept override {
        static ZeroMapping mapping;
        return static_cast<Mappable*>(&mapping);
    }

protected:
    ~ZeroOps() = default;
};
class PlainZeroOps final : public ZeroOps {};

class FullOps final : public ZeroOps {
public:
    Result<std::size_t> write(File&, IoBuffer&, std::uint64_t) noexcept override {
        return Errno::nospc;
    }
};

class RandomOps final : public NullOps {
public:
    Result<std::size_t> read(File&, IoBuffer& buffer, std::uint64_t) noexcept override {
        const std::size_t before = buffer.done();
        while (buffer.remaining() != 0) {
            char bytes[256];
            const std::size_t part =
                buffer.remaining() < sizeof(bytes) ? buffer.remaining() : sizeof(bytes);
            random_bytes(bytes, part);
            auto put = buffer.put(bytes, part);
            if (!put)
                return buffer.done() != before ? Result<std::size_t>{buffer.done() - before}
                                               : std::move(put);
        }
        return buffer.done() - before;
    }
    Result<std::size_t> write(File&, IoBuffer& buffer, std::uint64_t) noexcept override {
        const std::size_t before = buffer.done();
        while (buffer.remaining() != 0) {
            char bytes[256];
            const std::size_t part = TRY(buffer.get(bytes, sizeof(bytes)));
            add_entropy(bytes, part);
        }
        return buffer.done() - before;
    }
    Result<std::int64_t> ioctl(File&, std::uint32_t command,
                               std::uint64_t argument) noexcept override {
        constexpr std::uint32_t get_entropy_count = 0x80045200;
        if (command == get_entropy_count) {
            TRY(write_user(argument, 256));
            return 0;
        }
        return Errno::inval;
    }
};

/// Reads the kernel log from the oldest line on; writes add to it.
class KmsgOps final : public FileOps {
public:
    Status open(File& file) noexcept override {
        file.data = new (std::nothrow) std::uint64_t{};
        return file.data == nullptr ? Status{Errno::nomem} : Status{};
    }
    void release(File& file) noexcept override { delete static_cast<std::uint64_t*>(file.data); }
    Result<std::size_t> read(File& file, IoBuffer& buffer, std::uint64_t) noexcept override {
        char text[512];
        auto& from = *static_cast<std::uint64_t*>(file.data);
        const std::size_t room =
            buffer.remaining() < sizeof(text) ? buffer.remaining() : sizeof(text);
        const std::size_t count = read_log(from, text, room);
        if (count == 0)
            return file.is_nonblocking() ? Result<std::size_t>{Errno::again}
                                         : Result<std::size_t>{std::size_t{0}};
        return buffer.put(text, count);
    }
    Result<std::size_t> write(File&, IoBuffer& buffer, std::uint64_t) noexcept override {
        char text[256];
        const std::size_t whole = buffer.remaining();
        const std::size_t count = TRY(buffer.get(text, sizeof(text) - 1));
        text[count] = 0;
        const char* line = text;
        if (line[0] == '<') { // a syslog priority
            const char* end = line + 1;
            while (*end >= '0' && *end <= '9')
                ++end;
            if (*end == '>')
                line = end + 1;
        }
        printk(Level::notice, "%s", line);
        return whole;
    }
};

} // namespace

void initialize() noexcept {
    static PlainNullOps null;
    static PlainZeroOps zero;
    static FullOps full;
    static RandomOps random;
    static KmsgOps kmsg;
    constexpr std::uint32_t mem_major = 1;
    (void)register_char_device("null", mem_major, 3, null, nullptr, 0666);
    (void)register_char_device("zero", mem_major, 5, zero, nullptr, 0666);
    (void)register_char_device("full", mem_major, 7, full, nullptr, 0666);
    (void)register_char_device("random", mem_major, 8, random, nullptr, 0666);
    (void)register_char_device("urandom", mem_major, 9, random, nullptr, 0666);
    (void)register_char_device("kmsg", mem_major, 11, kmsg, nullptr, 0644);
    (void)char_device::add_link("fd", "/proc/self/fd");
    (void)char_device::add_link("stdin", "/proc/self/fd/0");
    (void)char_device::add_link("stdout", "/proc/self/fd/1");
    (void)char_device::add_link("stderr", "/proc/self/fd/2");
}

} // namespace kernel::mem_devices
