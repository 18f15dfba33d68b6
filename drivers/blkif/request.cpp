// SPDX-License-Identifier: BSD-2-Clause
// Checks on guests' block requests, and names of virtual disks.
#include "request.hpp"

#include <cero/lib/format.hpp>

#include <cstring>

namespace drivers::blkif {

namespace {

constexpr unsigned sectors_per_page = 8;
constexpr unsigned major_xvd = 202;
constexpr std::uint64_t extended_device = 1ull << 28;

Errno check_direct(const cero_blkif_request& request, Plan& plan) noexcept {
    if (request.nr_segments == 0 || request.nr_segments > CERO_BLKIF_MAX_SEGMENTS_PER_REQUEST)
        return Errno::inval;
    plan.sector = request.sector_number;
    plan.segment_count = request.nr_segments;
    std::memcpy(plan.segments, request.seg, request.nr_segments * sizeof request.seg[0]);
    return check_segments(plan);
}

Errno check_indirect(const cero_blkif_request_indirect& request, Plan& plan) noexcept {
    plan.response_op = request.indirect_op;
    if (request.indirect_op != CERO_BLKIF_OP_READ && request.indirect_op != CERO_BLKIF_OP_WRITE)
        return Errno::opnotsupp;
    plan.op = request.indirect_op == CERO_BLKIF_OP_READ ? BlockOp::read : BlockOp::write;
    if (request.nr_segments == 0 || request.nr_segments > max_segments)
        return Errno::inval;
    plan.sector = request.sector_number;
    plan.segment_count = request.nr_segments;
    plan.indirect = true;
    plan.indirect_ref = request.indirect_grefs[0];
    return Errno::ok;
}

} // namespace

Errno check_request(const cero_blkif_entry& entry, Plan& plan) noexcept {
    const cero_blkif_request& request = entry.request;
    plan.id = request.id;
    plan.response_op = request.operation;
    plan.indirect = plan.is_barrier = false;
    plan.segment_count = 0;
    plan.sector = plan.sector_count = 0;
    switch (request.operation) {
    case CERO_BLKIF_OP_READ:
        plan.op = BlockOp::read;
        return check_direct(request, plan);
    case CERO_BLKIF_OP_WRITE:
        plan.op = BlockOp::write;
        return check_direct(request, plan);
    case CERO_BLKIF_OP_WRITE_BARRIER:
        plan.op = BlockOp::write;
        plan.is_barrier = true;
        return request.nr_segments == 0 ? Errno::ok : check_direct(request, plan);
    case CERO_BLKIF_OP_FLUSH_DISKCACHE:
        plan.op = BlockOp::flush;
        return request.nr_segments == 0 ? Errno::ok : Errno::inval;
    case CERO_BLKIF_OP_DISCARD:
        plan.op = BlockOp::discard;
        if ((entry.discard.flag & CERO_BLKIF_DISCARD_SECURE) != 0)
            return Errno::opnotsupp;
        plan.sector = entry.discard.sector_number;
        plan.sector_count = entry.discard.nr_sectors;
        return Errno::ok;
    case CERO_BLKIF_OP_INDIRECT:
        return check_indirect(entry.indirect, plan);
    default:
        return Errno::opnotsupp;
    }
}

Errno check_segments(Plan& plan) noexcept {
    plan.sector_count = 0;
    for (unsigned i = 0; i < plan.segment_count; ++i) {
        const cero_blkif_segment& segment = plan.segments[i];
        if (segment.first_sect > segment.last_sect || segment.last_sect >= sectors_per_page)
            return Errno::inval;
        plan.sector_count += segment.last_sect - segment.first_sect + 1u;
    }
    return Errno::ok;
}

bool are_whole_blocks(const Plan& plan, std::uint32_t block_size) noexcept {
    const std::uint32_t unit = block_size / block_sector_size;
    if (unit <= 1)
        return true;
    for (unsigned i = 0; i < plan.segment_count; ++i)
        if (plan.segments[i].first_sect % unit != 0 ||
            (plan.segments[i].last_sect + 1u) % unit != 0)
            return false;
    return true;
}

std::int16_t status_of(Errno error) noexcept {
    switch (error) {
    case Errno::ok:
        return CERO_BLKIF_RSP_OKAY;
    case Errno::opnotsupp:
        return CERO_BLKIF_RSP_EOPNOTSUPP;
    default:
        return CERO_BLKIF_RSP_ERROR;
    }
}

bool disk_name(std::uint64_t virtual_device, char* out, std::size_t size) noexcept {
    unsigned disk;
    unsigned part;
    if ((virtual_device & extended_device) != 0) {
        disk = static_cast<unsigned>(virtual_device & (extended_device - 1)) >> 8;
        part = static_cast<unsigned>(virtual_device & 0xff);
    } else if (virtual_device >> 8 == major_xvd) {
        disk = static_cast<unsigned>(virtual_device & 0xff) >> 4;
        part = static_cast<unsigned>(virtual_device & 15);
    } else {
        return false;
    }
    if (disk >= 26 * 27)
        return false;
    char letters[3] = {static_cast<char>('a' + disk % 26), '\0', '\0'};
    if (disk >= 26) {
        letters[1] = letters[0];
        letters[0] = static_cast<char>('a' + disk / 26 - 1);
    }
    if (part != 0)
        cero::format_to(out, size, "xvd%s%u", letters, part);
    else
        cero::format_to(out, size, "xvd%s", letters);
    return true;
}

} // namespace drivers::blkif
