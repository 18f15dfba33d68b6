// SPDX-License-Identifier: BSD-2-Clause
// BlockDevice: what every disk looks like to its users, and the registry in which they find it by
// name.
#pragma once

#include <cero/lib/intrusive_list.hpp>
#include <cero/lib/result.hpp>

#include <cstddef>
#include <cstdint>

namespace drivers {

using cero::Errno;
using cero::IntrusiveList;
using cero::ListLink;
using cero::Result;
using cero::Status;

/// The unit of every sector number and count in this interface, whatever the medium's own sector
/// is.
inline constexpr std::uint32_t block_sector_size = 512;

enum class BlockOp : std::uint8_t {
    read,    ///< medium to memory
    write,   ///< memory to medium
    flush,   ///< everything completed before this request's submission becomes durable; no segments
    discard, ///< the contents of the range are no longer needed; no segments
};

/// A run of memory inside one page frame. Both names mean the same bytes: `machine` is for devices
/// that transfer by DMA, `data` for those that copy.
struct BlockSegment {
    std::uint64_t machine; ///< machine address of the first byte
    std::byte* data;       ///< kernel virtual address of the first byte
    std::uint32_t length;  ///< bytes; a multiple of the logical sector size
};

/// One transfer. The submitter owns it, and everything that it points to, again when `complete`
/// runs.
struct BlockRequest {
    using Complete = void (*)(BlockRequest&);

    BlockOp op{BlockOp::read};
    bool force_unit_access{}; ///< write: durable when completed
    /// First sector in units of block_sector_size. A partition shifts it in place: set it again
    /// before the object is submitted once more.
    std::uint64_t sector{};
    std::uint64_t
        sector_count{}; ///< length of the range; equals the sum of the segments for read/write
    BlockSegment* segments{};
    std::uint32_t segment_count{};
    Complete complete{};    ///< runs exactly once, possibly in event context or inside submit()
    void* context{};        ///< for the submitter
    Errno error{Errno::ok}; ///< outcome, valid when `complete` runs

    ListLink link{};     ///< for the device while it holds the request
    void* device_data{}; ///< for the device while it holds the request

    void finish(Errno outcome) noexcept {
        error = outcome;
        complete(*this);
    }
};
using BlockRequestList = IntrusiveList<BlockRequest, &BlockRequest::link>;

/// Work that a submitter wants to do once after a run of completions (unmap, notify) instead of
/// once each.
struct BatchEnd {
    void (*run)(BatchEnd& self){};
    ListLink link{};
};

/// A driver that completes several requests in a row holds one of these meanwhile. Event or thread
/// context.
class CompletionBatch {
public:
    CompletionBatch() noexcept { ++depth_; }
    ~CompletionBatch();
    CompletionBatch(const CompletionBatch&) = delete;
    CompletionBatch& operator=(const CompletionBatch&) = delete;
    /// Runs `end` when the current batch is over, or at once when there is none. No-op if it waits
    /// already.
    static void at_end(BatchEnd& end) noexcept;

private:
    static unsigned depth_;
};

struct BlockGeometry {
    std::uint64_t sectors{};                 ///< capacity in units of block_sector_size
    std::uint32_t logical_sector_size{512};  ///< smallest transfer and its alignment
    std::uint32_t physical_sector_size{512}; ///< what the medium writes at once
    std::uint32_t max_segments{32};      ///< per request; longer ones are the submitter's to split
    std::uint32_t max_discard_sectors{}; ///< 0: no discard
    std::uint32_t discard_granularity{512}; ///< bytes
    std::uint32_t discard_alignment{};      ///< bytes from the start to the first whole granule
    bool read_only{};
    bool has_flush{}; ///< a volatile cache that flush empties; else flush is a no-op
};

/// A disk, a partition of one, or anything that reads and writes sectors. Registered devices are
/// counted: whoever holds a BlockHandle keeps the object alive, also after its hardware is gone
/// (then every request ends with Errno::io).
class BlockDevice {
public:
    static constexpr std::size_t name_size = 24;

    BlockDevice(const BlockDevice&) = delete;
    BlockDevice& operator=(const BlockDevice&) = delete;

    [[nodiscard]] const char* name() const noexcept { return name_; }
    [[nodiscard]] const BlockGeometry& geometry() const noexcept { return geometry_; }
    [[nodiscard]] bool read_only() const noexcept { return geometry_.read_only; }

    /// Takes the request; never sleeps, never fails in any other way than through the completion.
    /// Event or thread context. A request that exceeds the geometry completes with Errno::inval.
    void submit(BlockRequest& request) noexcept;
    /// Between plug() and unplug() the device may hold back the notification of submitted requests.
    virtual void plug() noexcept {}
    virtual void unplug() noexcept {}

protected:
    BlockDevice() noexcept = default;
    virtual ~BlockDevice() = default;
    void set_name(const char* name) noexcept;

    /// The driver's part of submit(); the request has been checked against the geometry.
    virtual void start(BlockRequest& request) noexcept = 0;
    /// The device was unregistered and its last handle closed: the object may delete itself.
    virtual void released() noexcept {}

    BlockGeometry geometry_{};

private:
    friend class BlockRegistry;
    friend struct BlockRegistryState;
    friend class BlockHandle;
    char name_[name_size]{};
    ListLink registry_link_{};
    std::uint32_t handles_{};
    std::uint32_t writers_{}; ///< shared writers
    bool exclusive_{};        ///< one exclusive writer
    bool registered_{};
    BlockDevice* whole_{};         ///< of a partition: the disk that it is part of
    std::uint64_t first_sector_{}; ///< of a partition
};

/// How a user opens a device. Exclusion covers overlap: a whole disk conflicts with its partitions.
enum class BlockAccess : std::uint8_t {
    read,            ///< reads only; refused only while another user writes exclusively
    write_shared,    ///< writes beside other shared writers
    write_exclusive, ///< the one writer (a mounted file system, a guest)
};

/// A counted reference to a registered device together with its claim. Move-only; closes itself.
class BlockHandle {
public:
    BlockHandle() noexcept = default;
    BlockHandle(BlockHandle&& other) noexcept;
    BlockHandle& operator=(BlockHandle&& other) noexcept;
    ~BlockHandle() { close(); }

    /// noent: no such device; busy: claimed in a way that excludes `access`; rofs: read-only
    /// medium.
    [[nodiscard]] static Result<BlockHandle> open(const char* name, BlockAccess access);
    void close() noexcept;
    [[nodiscard]] BlockDevice* get() const noexcept { return device_; }
    BlockDevice* operator->() const noexcept { return device_; }
    BlockDevice& operator*() const noexcept { return *device_; }
    explicit operator bool() const noexcept { return device_ != nullptr; }

private:
    friend class BlockRegistry;
    BlockHandle(BlockDevice& device, BlockAccess access) noexcept
        : device_{&device}, access_{access} {}
    BlockDevice* device_{};
    BlockAccess access_{BlockAccess::read};
};

/// Told of every device that comes and goes; a new listener is told of those already there.
/// Callbacks run in thread context, with no lock of the registry held.
class BlockListener {
public:
    virtual void block_added(BlockDevice& device) noexcept = 0;
    /// The device takes no new requests; close handles when convenient.
    virtual void block_removed(BlockDevice& device) noexcept = 0;
    ListLink link{};

protected:
    ~BlockListener() = default;
};

class BlockRegistry {
public:
    /// Makes the device findable. `whole`/`first_sector` are given for a partition. exist: name
    /// taken.
    [[nodiscard]] static Status add(BlockDevice& device, BlockDevice* whole = nullptr,
                                    std::uint64_t first_sector = 0);
    /// Whether anybody holds the device, or a part of it, for writing.
    [[nodiscard]] static bool has_writer(const BlockDevice& device) noexcept;
    /// A handle on a device that the caller has at hand, without a claim.
    [[nodiscard]] static BlockHandle hold(BlockDevice& device);
    /// Hides the device from new users; released() follows when the last handle closes.
    static void remove(BlockDevice& device);
    /// Announces new capacity or read-only state through remove/add callbacks to listeners.
    static void changed(BlockDevice& device, const BlockGeometry& geometry);
    static void listen(BlockListener& listener);
    static void ignore(BlockListener& listener);
    /// The n-th registered device in order of registration, or null; for listings.
    [[nodiscard]] static BlockDevice* at(std::size_t index) noexcept;
};

/// Reads or writes `length` bytes (sector multiple, page-contained or not) and sleeps until done.
[[nodiscard]] Status block_transfer(BlockDevice& device, BlockOp op, std::uint64_t sector,
                                    void* data, std::size_t length);

/// Reads the GPT (or MBR) of a disk and registers name1, name2, ... for its partitions. Sleeps.
void scan_partitions(BlockDevice& whole);

} // namespace drivers
