// SPDX-License-Identifier: BSD-2-Clause
// Image files, bzImage payloads, decompression by zlib, liblzma, libzstd and liblz4.
#include "builder/image_source.hpp"

#include "base/error.hpp"

#include <lz4.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace cero::builder {

namespace {

class FileSource final : public ImageSource {
public:
    FileSource(Fd fd, std::uint64_t size) : fd_{std::move(fd)}, size_{size} {}
    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }
    [[nodiscard]] bool read(std::uint64_t offset, std::span<std::uint8_t> out) const override {
        if (offset > size_ || out.size() > size_ - offset)
            return false;
        while (!out.empty()) {
            const ssize_t n =
                ::pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(offset));
            if (n < 0 && errno == EINTR)
                continue;
            if (n <= 0)
                return false;
            out = out.subspan(static_cast<std::size_t>(n));
            offset += static_cast<std::uint64_t>(n);
        }
        return true;
    }

private:
    Fd fd_;
    std::uint64_t size_;
};

[[noreturn]] void refuse(const std::string& path, std::string_view cause, std::string remedy = {}) {
    throw Error{ExitCode::failed, fmt::format("kernel {}: {}", path, cause), std::move(remedy)};
}

constexpr const char* broken_remedy = "Copy the file again: it seems to be damaged or cut short.";

/// What a decoder stopped at: the limit, or data that it cannot make sense of.
[[noreturn]] void refuse_packed(const std::string& path, std::string_view packing,
                                bool is_too_large, std::size_t unpacked_max) {
    if (is_too_large)
        refuse(path,
               fmt::format("its {} data unpacks to {} MiB or more, which is the limit", packing,
                           unpacked_max >> 20),
               "No kernel is as large as that: name one, or give it unpacked.");
    refuse(path, fmt::format("its {} data is corrupt or truncated", packing), broken_remedy);
}

std::size_t first_room(std::size_t packed, std::size_t unpacked_max) noexcept {
    return std::min(std::max<std::size_t>(packed * 4, 1 << 16), unpacked_max);
}

std::vector<std::uint8_t> unpack_gzip(std::span<const std::uint8_t> packed, const std::string& path,
                                      std::size_t unpacked_max) {
    z_stream stream{};
    constexpr int gzip_window = 15 + 16;
    if (::inflateInit2(&stream, gzip_window) != Z_OK)
        refuse(path, "cannot start the gzip decoder");
    std::vector<std::uint8_t> out(first_room(packed.size(), unpacked_max));
    stream.next_in = const_cast<Bytef*>(packed.data()); // NOLINT: zlib's interface is not const
    stream.avail_in = static_cast<uInt>(packed.size());
    int result = Z_OK;
    std::size_t done = 0;
    while (result == Z_OK && done < unpacked_max) {
        if (done == out.size())
            out.resize(std::min(out.size() * 2, unpacked_max));
        stream.next_out = out.data() + done;
        stream.avail_out = static_cast<uInt>(out.size() - done);
        result = ::inflate(&stream, Z_NO_FLUSH);
        const std::size_t now = out.size() - stream.avail_out;
        if (result == Z_OK && now == done && stream.avail_in == 0)
            break;
        done = now;
    }
    ::inflateEnd(&stream);
    const bool is_too_large = done == unpacked_max && (result == Z_OK || result == Z_STREAM_END);
    if (result != Z_STREAM_END || is_too_large)
        refuse_packed(path, "gzip", is_too_large, unpacked_max);
    out.resize(done);
    return out;
}

std::vector<std::uint8_t> unpack_xz(std::span<const std::uint8_t> packed, const std::string& path,
                                    std::size_t unpacked_max) {
    lzma_stream stream = LZMA_STREAM_INIT;
    constexpr std::uint64_t decoder_memory = std::uint64_t{256} << 20;
    if (::lzma_stream_decoder(&stream, decoder_memory, 0) != LZMA_OK)
        refuse(path, "cannot start the xz decoder");
    std::vector<std::uint8_t> out(first_room(packed.size(), unpacked_max));
    stream.next_in = packed.data();
    stream.avail_in = packed.size();
    lzma_ret result = LZMA_OK;
    std::size_t done = 0;
    while (result == LZMA_OK && done < unpacked_max) {
        if (done == out.size())
            out.resize(std::min(out.size() * 2, unpacked_max));
        stream.next_out = out.data() + done;
        stream.avail_out = out.size() - done;
        result = ::lzma_code(&stream, LZMA_RUN);
        done = out.size() - stream.avail_out;
        if (result == LZMA_OK && stream.avail_in == 0 && stream.avail_out != 0)
            result = LZMA_DATA_ERROR;
    }
    ::lzma_end(&stream);
    const bool is_too_large =
        done == unpacked_max && (result == LZMA_OK || result == LZMA_STREAM_END);
    if (result != LZMA_STREAM_END || is_too_large)
        refuse_packed(path, "xz", is_too_large, unpacked_max);
    out.resize(done);
    return out;
}

std::vector<std::uint8_t> unpack_zstd(std::span<const std::uint8_t> packed, const std::string& path,
                                      std::size_t unpacked_max) {
    ZSTD_DCtx* context = ::ZSTD_createDCtx();
    if (context == nullptr)
        refuse(path, "cannot start the zstd decoder");
    ::ZSTD_DCtx_setParameter(context, ZSTD_d_windowLogMax, 27);
    std::vector<std::uint8_t> out(first_room(packed.size(), unpacked_max));
    ZSTD_inBuffer in{packed.data(), packed.size(), 0};
    ZSTD_outBuffer target{out.data(), out.size(), 0};
    std::size_t result = 1;
    while (true) {
        result = ::ZSTD_decompressStream(context, &target, &in);
        if (result == 0 || ::ZSTD_isError(result) != 0)
            break;
        if (target.pos == target.size) {
            if (out.size() >= unpacked_max)
                break;
            out.resize(std::min(out.size() * 2, unpacked_max));
            target.dst = out.data();
            target.size = out.size();
        } else if (in.pos == in.size) {
            break;
        }
    }
    ::ZSTD_freeDCtx(context);
    const bool is_too_large = target.pos == unpacked_max && ::ZSTD_isError(result) == 0;
    if (result != 0 || is_too_large)
        refuse_packed(path, "zstd", is_too_large, unpacked_max);
    out.resize(target.pos);
    return out;
}

template <typename T>
T value_at(std::span<const std::uint8_t> bytes, std::size_t offset) noexcept {
    T value;
    std::memcpy(&value, bytes.data() + offset, sizeof value);
    return value;
}

/// The legacy frame, which Linux uses: the magic number, then blocks of at most 8 MiB unpacked,
/// each behind its packed size. In a bzImage four bytes follow, the size of everything unpacked.
/// There is no checksum.
std::vector<std::uint8_t> unpack_lz4(std::span<const std::uint8_t> packed, const std::string& path,
                                     std::size_t unpacked_max) {
    constexpr std::size_t word = 4, block_max = std::size_t{8} << 20;
    std::vector<std::uint8_t> out;
    std::span<const std::uint8_t> rest = packed.subspan(word);
    while (rest.size() > word) {
        const auto size = value_at<std::uint32_t>(rest, 0);
        rest = rest.subspan(word);
        const std::size_t done = out.size();
        if (size == 0 || size > rest.size())
            refuse_packed(path, "lz4", false, unpacked_max);
        out.resize(std::min(done + block_max, unpacked_max));
        const int got = ::LZ4_decompress_safe(
            reinterpret_cast<const char*>(rest.data()), reinterpret_cast<char*>(out.data() + done),
            static_cast<int>(size), static_cast<int>(out.size() - done));
        if (got < 0 || done + static_cast<std::size_t>(got) == unpacked_max)
            refuse_packed(path, "lz4", out.size() == unpacked_max, unpacked_max);
        out.resize(done + static_cast<std::size_t>(got));
        rest = rest.subspan(size);
    }
    if (out.empty() ||
        (!rest.empty() && (rest.size() != word || value_at<std::uint32_t>(rest, 0) != out.size())))
        refuse_packed(path, "lz4", false, unpacked_max);
    return out;
}

struct Packing {
    std::string_view name;
    std::string_view magic;
    std::vector<std::uint8_t> (*unpack)(std::span<const std::uint8_t>, const std::string&,
                                        std::size_t);
};

constexpr std::array packings{
    Packing{"gzip", {"\x1f\x8b\x08", 3}, &unpack_gzip},
    Packing{"xz",
            {"\xfd"
             "7zXZ\0",
             6},
            &unpack_xz},
    Packing{"zstd", {"\x28\xb5\x2f\xfd", 4}, &unpack_zstd},
    Packing{"bzip2", {"BZh", 3}, nullptr},
    Packing{"lzma", {"\x5d\0\0", 3}, nullptr},
    Packing{"lzo", {"\x89LZO", 4}, nullptr},
    Packing{"lz4", {"\x02\x21\x4c\x18", 4}, &unpack_lz4},
};

const Packing* packing_of(std::span<const std::uint8_t> start) noexcept {
    for (const Packing& packing : packings)
        if (start.size() >= packing.magic.size() &&
            std::memcmp(start.data(), packing.magic.data(), packing.magic.size()) == 0)
            return &packing;
    return nullptr;
}

/// Where the payload of a bzImage is; everything when the file is none.
struct Range {
    std::uint64_t offset;
    std::uint64_t size;
};

Range payload_of(const ImageSource& source, const std::string& path) {
    constexpr std::size_t header_room = 0x250;
    constexpr std::uint16_t payload_protocol = 0x208;
    const Range whole{0, source.size()};
    std::array<std::uint8_t, header_room> header;
    if (!source.read(0, header) || std::memcmp(header.data() + 0x202, "HdrS", 4) != 0)
        return whole;
    if (value_at<std::uint16_t>(header, 0x206) < payload_protocol)
        refuse(path,
               "its bzImage boot protocol is older than 2.08 and does not say where the kernel is",
               "Use a Linux kernel of 2.6.26 or later.");
    const std::uint64_t sectors = header[0x1f1] == 0 ? 4 : header[0x1f1];
    const std::uint64_t offset = (sectors + 1) * 512 + value_at<std::uint32_t>(header, 0x248);
    std::uint64_t size = value_at<std::uint32_t>(header, 0x24c);
    if (offset > source.size() || size > source.size() - offset || size < 8)
        refuse(path, "the payload of this bzImage lies outside the file", broken_remedy);
    return {offset, size};
}

} // namespace

bool MemorySource::read(std::uint64_t offset, std::span<std::uint8_t> out) const {
    if (offset > bytes_.size() || out.size() > bytes_.size() - offset)
        return false;
    std::copy_n(bytes_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return true;
}

std::unique_ptr<ImageSource> open_image(const std::string& path, std::string_view role) {
    Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0)
        throw Error{
            ExitCode::not_found, fmt::format("{} {}: {}", role, path, errno_text(errno)),
            fmt::format("Check the path in the line \"{} = ...\" of the configuration.", role)};
    if (S_ISDIR(status.st_mode))
        throw Error{ExitCode::failed, fmt::format("{} {}: it is a directory", role, path)};
    return std::make_unique<FileSource>(std::move(fd), static_cast<std::uint64_t>(status.st_size));
}

std::unique_ptr<ImageSource> unwrap_kernel(std::unique_ptr<ImageSource> source,
                                           const std::string& path, std::size_t unpacked_max) {
    const Range range = payload_of(*source, path);
    std::array<std::uint8_t, 8> start{};
    const std::size_t start_size = std::min<std::uint64_t>(start.size(), range.size);
    if (!source->read(range.offset, std::span{start}.first(start_size)))
        refuse(path, "cannot be read", broken_remedy);
    const Packing* packing = packing_of(std::span{start}.first(start_size));
    if (packing == nullptr && range.offset == 0)
        return source;
    if (range.size > unpacked_max)
        refuse(path,
               fmt::format("it is larger than {} MiB, which is the limit", unpacked_max >> 20),
               "No kernel is as large as that: name one.");
    std::vector<std::uint8_t> bytes(range.size);
    if (!source->read(range.offset, bytes))
        refuse(path, "cannot be read", broken_remedy);
    if (packing == nullptr)
        return std::make_unique<MemorySource>(std::move(bytes));
    if (packing->unpack == nullptr)
        refuse(path, fmt::format("{} compression is not supported", packing->name),
               "Pack the kernel with gzip, xz, zstd or lz4, or give it unpacked.");
    return std::make_unique<MemorySource>(packing->unpack(bytes, path, unpacked_max));
}

} // namespace cero::builder
