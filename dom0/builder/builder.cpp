// SPDX-License-Identifier: BSD-2-Clause
// Filling of a new domain: memory, images, start_info, page tables, grants, first vCPU.
#include "builder/builder.hpp"

#include "base/error.hpp"
#include "builder/page_tables.hpp"

#include <cero/abi/grant.h>
#include <cero/abi/shared_info.h>
#include <cero/abi/start_info.h>
#include <cero/abi/trap.h>

#include <algorithm>
#include <array>
#include <cstring>

namespace cero::builder {

namespace {

constexpr std::uint64_t page_size = CERO_PAGE_SIZE;
constexpr std::uint64_t pages_per_mib = (1 << 20) / page_size;
constexpr cero_domid backend_domain = 0;

} // namespace

Plan Plan::make(const std::string& kernel_path, const std::string& ramdisk_path,
                const std::string& command_line, std::uint64_t memory_mib) {
    Plan plan;
    plan.kernel_path_ = kernel_path;
    plan.ramdisk_path_ = ramdisk_path;
    plan.command_line_ = command_line;
    if (command_line.size() >= CERO_MAX_GUEST_CMDLINE)
        throw Error{ExitCode::usage,
                    fmt::format("the kernel command line has {} characters; {} is the most that a "
                                "guest can take",
                                command_line.size(), CERO_MAX_GUEST_CMDLINE - 1),
                    "Shorten \"extra\" or \"cmdline\"."};
    plan.kernel_source_ = unwrap_kernel(open_image(kernel_path, "kernel"), kernel_path);
    plan.kernel_ = parse_kernel(*plan.kernel_source_, kernel_path);
    if (!ramdisk_path.empty()) {
        plan.ramdisk_source_ = open_image(ramdisk_path, "ramdisk");
        if (plan.ramdisk_source_->size() == 0)
            throw Error{ExitCode::failed,
                        fmt::format("ramdisk {}: the file is empty", ramdisk_path)};
    }
    plan.layout_ =
        plan_layout(plan.kernel_, memory_mib * pages_per_mib,
                    plan.ramdisk_source_ ? plan.ramdisk_source_->size() : 0, kernel_path);
    return plan;
}

/// One run of build(): the frames that it has given to the domain and its view of them.
class Builder {
public:
    Builder(control::DomainControl& control, cero_domid domain, const Plan& plan)
        : control_{control}, domain_{domain}, plan_{plan}, kernel_{plan.kernel_},
          layout_{plan.layout_} {}

    Built run() {
        populate();
        map_what_is_written();
        load_kernel();
        load_ramdisk();
        write_p2m();
        Built built;
        built.store_frame = frames_[layout_.store];
        built.console_frame = frames_[layout_.console];
        built.store_port = control_.allocate_unbound(domain_, backend_domain);
        built.console_port = control_.allocate_unbound(domain_, backend_domain);
        write_start_info(built);
        std::memset(page(layout_.store), 0, page_size);
        std::memset(page(layout_.console), 0, page_size);
        write_page_tables(kernel_, layout_, frames_, [&](std::uint64_t pfn) {
            return reinterpret_cast<std::uint64_t*>(page(pfn));
        });
        mapping_.reset(); // a table that is mapped writable cannot be pinned
        prepare_shared_pages(built);
        if (kernel_.hypercall_page)
            control_.fill_hypercall_page(
                domain_, frames_[(*kernel_.hypercall_page - kernel_.virtual_base) / page_size]);
        control_.pin_top_level_table(domain_, frames_[layout_.tables.first]);
        start_vcpu();
        return built;
    }

private:
    /// Frames for every PFN: large extents first, since each costs one step in the hypervisor.
    void populate() {
        frames_.resize(layout_.pages);
        constexpr unsigned large_order = 9;
        constexpr std::uint64_t large = std::uint64_t{1} << large_order;
        std::uint64_t done = 0;
        std::vector<cero_frame> extents(layout_.pages / large);
        for (std::size_t i = 0; i < extents.size(); ++i)
            extents[i] = i * large;
        if (!extents.empty()) {
            const std::size_t got = control_.populate(domain_, extents, large_order);
            for (; done < got * large; ++done)
                frames_[done] = extents[done / large] + done % large;
        }
        constexpr std::uint64_t batch = 32768;
        while (done < layout_.pages) {
            const std::uint64_t count = std::min(batch, layout_.pages - done);
            const std::span<cero_frame> part = std::span{frames_}.subspan(done, count);
            for (std::uint64_t i = 0; i < count; ++i)
                part[i] = done + i;
            const std::size_t got = control_.populate(domain_, part, 0);
            done += got;
            if (got < count)
                throw Error{ExitCode::failed,
                            fmt::format("domain {}: the hypervisor gave only {} of {} MiB", domain_,
                                        done / pages_per_mib, layout_.pages / pages_per_mib),
                            "Lower \"memory\", or free some: \"cero info\" shows what is free."};
        }
    }

    /// One mapping for all that is written, in the order of `ranges_`.
    void map_what_is_written() {
        for (const Segment& segment : kernel_.segments) {
            const std::uint64_t first = segment.physical / page_size;
            const std::uint64_t end =
                (segment.physical + segment.memory_size + page_size - 1) / page_size;
            if (!ranges_.empty() && ranges_.back().end() >= first) // two segments may share a page
                ranges_.back().count = std::max(ranges_.back().end(), end) - ranges_.back().first;
            else
                ranges_.push_back({first, end - first});
        }
        for (const FrameRange& range :
             {layout_.ramdisk, layout_.p2m, layout_.p2m_tables, layout_.specials()})
            if (range.count != 0)
                ranges_.push_back(range);
        std::ranges::sort(ranges_, {}, &FrameRange::first);
        std::vector<cero_frame> wanted;
        for (const FrameRange& range : ranges_)
            wanted.insert(wanted.end(), frames_.begin() + static_cast<std::ptrdiff_t>(range.first),
                          frames_.begin() + static_cast<std::ptrdiff_t>(range.end()));
        mapping_ = control_.map(domain_, wanted, true);
    }

    /// Where a PFN of one of the ranges is mapped. The pages behind it in the same range follow it.
    [[nodiscard]] std::uint8_t* page(std::uint64_t pfn) const {
        std::uint64_t before = 0;
        for (const FrameRange& range : ranges_) {
            if (pfn >= range.first && pfn < range.end())
                return mapping_.data() + (before + pfn - range.first) * page_size;
            before += range.count;
        }
        fail("domain {}: frame {} is not mapped", domain_, pfn);
    }
    [[nodiscard]] std::uint8_t* byte(std::uint64_t physical) const {
        return page(physical / page_size) + physical % page_size;
    }

    void zero(std::uint64_t from, std::uint64_t to) const {
        if (from < to)
            std::memset(byte(from), 0, to - from);
    }

    /// Every byte of the kernel's pages is written once: file contents, or zero.
    void load_kernel() {
        const auto page_end = [](std::uint64_t address) {
            return (address + page_size - 1) & ~(page_size - 1);
        };
        std::uint64_t written = plan_.kernel_.start;
        for (const Segment& segment : kernel_.segments) {
            if (page_end(written) <= segment.physical) { // starts in a page of its own
                zero(written, page_end(written));
                written = segment.physical & ~(page_size - 1);
            }
            zero(written, segment.physical);
            if (segment.file_size != 0 &&
                !plan_.kernel_source_->read(segment.file_offset,
                                            {byte(segment.physical), segment.file_size}))
                fail("kernel {}: the file changed while it was read", plan_.kernel_path_);
            written = segment.physical + segment.memory_size;
            zero(segment.physical + segment.file_size, written);
        }
        zero(written, page_end(written));
    }

    void load_ramdisk() {
        if (!plan_.ramdisk_source_)
            return;
        const std::uint64_t size = plan_.ramdisk_source_->size();
        std::uint8_t* const start = page(layout_.ramdisk.first);
        if (!plan_.ramdisk_source_->read(0, {start, size}))
            fail("ramdisk {}: the file changed while it was read", plan_.ramdisk_path_);
        std::memset(start + size, 0, layout_.ramdisk.count * page_size - size);
    }

    void write_p2m() {
        std::uint8_t* const list = page(layout_.p2m.first);
        const std::size_t bytes = frames_.size() * sizeof frames_[0];
        std::memcpy(list, frames_.data(), bytes);
        std::memset(list + bytes, 0xff, layout_.p2m.count * page_size - bytes);
    }

    [[nodiscard]] std::uint64_t address_of(std::uint64_t pfn) const noexcept {
        return kernel_.virtual_base + pfn * page_size;
    }

    void write_start_info(const Built& built) {
        const auto info = control_.domain(domain_);
        if (!info)
            fail("domain {}: it vanished while it was built; somebody destroyed it", domain_);
        cero_start_info start{};
        std::memcpy(start.magic, CERO_START_INFO_MAGIC, sizeof CERO_START_INFO_MAGIC);
        start.nr_pages = layout_.pages;
        shared_info_ = info->shared_info_frame;
        start.shared_info = shared_info_ << CERO_PAGE_SHIFT;
        start.store_mfn = built.store_frame;
        start.store_evtchn = built.store_port;
        start.console.domU.mfn = built.console_frame;
        start.console.domU.evtchn = built.console_port;
        start.pt_base = address_of(layout_.tables.first);
        start.nr_pt_frames = layout_.tables.count;
        start.mfn_list = kernel_.p2m_base ? *kernel_.p2m_base : address_of(layout_.p2m.first);
        if (kernel_.p2m_base) {
            start.first_p2m_pfn = layout_.p2m.first;
            start.nr_p2m_frames = layout_.p2m.count + layout_.p2m_tables.count;
        }
        if (plan_.ramdisk_source_) {
            start.mod_len = plan_.ramdisk_source_->size();
            if (kernel_.ramdisk_by_frame) {
                start.flags |= CERO_SIF_MOD_START_PFN;
                start.mod_start = layout_.ramdisk.first;
            } else {
                start.mod_start = address_of(layout_.ramdisk.first);
            }
        }
        std::memcpy(start.cmd_line, plan_.command_line_.data(), plan_.command_line_.size());
        std::uint8_t* const where = page(layout_.start_info);
        std::memcpy(where, &start, sizeof start);
        std::memset(where + sizeof start, 0, page_size - sizeof start);
    }

    /// The two pages of the hypervisor's that a domain starts with: grants for its backends, and no
    /// event may arrive before it has said where to.
    void prepare_shared_pages(const Built& built) {
        const std::array<cero_frame, 2> frames{control_.grant_table_frame(domain_), shared_info_};
        const control::Mapping pages = control_.map(domain_, frames, true);
        auto* const entries = reinterpret_cast<cero_grant_entry_v1*>(pages.data());
        const auto seed = [&](std::size_t reference, cero_frame target) {
            entries[reference].frame = static_cast<std::uint32_t>(target);
            entries[reference].domid = backend_domain;
            __atomic_store_n(&entries[reference].flags, std::uint16_t{CERO_GTF_permit_access},
                             __ATOMIC_RELEASE);
        };
        seed(CERO_GNTTAB_RESERVED_CONSOLE, built.console_frame);
        seed(CERO_GNTTAB_RESERVED_XENSTORE, built.store_frame);
        auto* const shared = reinterpret_cast<cero_shared_info*>(pages.data() + page_size);
        for (auto& vcpu : shared->vcpu_info)
            vcpu.evtchn_upcall_mask = 1;
    }

    void start_vcpu() {
        constexpr std::uint16_t flat_kernel_code = 0xe033;
        constexpr std::uint16_t flat_kernel_data = 0xe02b;
        constexpr std::uint64_t interrupts_enabled = 0x200;
        cero_vcpu_guest_context context{};
        context.flags = CERO_VGCF_in_kernel | CERO_VGCF_online;
        auto& regs = context.user_regs;
        regs.rip = kernel_.entry;
        regs.rsp = address_of(layout_.stack) + page_size;
        regs.rsi = address_of(layout_.start_info);
        regs.rflags = interrupts_enabled;
        regs.cs = flat_kernel_code;
        regs.ss = flat_kernel_data;
        context.kernel_ss = regs.ss;
        context.kernel_sp = regs.rsp;
        context.ctrlreg[3] = frames_[layout_.tables.first] << CERO_PAGE_SHIFT;
        context.debugreg[6] = 0xffff0ff0;
        context.debugreg[7] = 0x400;
        control_.set_vcpu_context(domain_, 0, context);
    }

    control::DomainControl& control_;
    cero_domid domain_;
    const Plan& plan_;
    const KernelImage& kernel_;
    const Layout& layout_;
    std::vector<cero_frame> frames_;
    std::vector<FrameRange> ranges_;
    control::Mapping mapping_;
    cero_frame shared_info_{};
};

Built build(control::DomainControl& control, cero_domid domain, const Plan& plan) {
    return Builder{control, domain, plan}.run();
}

} // namespace cero::builder
