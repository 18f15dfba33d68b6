// SPDX-License-Identifier: BSD-2-Clause
// `cero dump-core`: walks the guest's page tables, gives each page a place in the file, and each
// run of addresses a program header that points there.
#include "toolstack/core_dump.hpp"

#include "base/error.hpp"
#include "base/file.hpp"
#include "toolstack/paths.hpp"

#include <dirent.h>
#include <elf.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/procfs.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <ctime>
#include <unordered_map>

namespace cero::toolstack {

namespace {

constexpr std::uint64_t page_size = CERO_PAGE_SIZE;
constexpr std::size_t entries_per_table = 512;
constexpr std::size_t map_batch = 256;
/// Level-4 slots that belong to the hypervisor (public ABI: 0xffff800000000000 to
/// 0xffff87ffffffffff).
constexpr std::size_t hypervisor_first_slot = 256, hypervisor_end_slot = 272;
/// Level-4 slots from here on hold the upper half of the addresses, all sign bits set.
constexpr std::size_t upper_half_slot = entries_per_table / 2;

/// A frame and the virtual address that it (or the first page below it) is mapped at.
struct Mapped {
    std::uint64_t address;
    cero_frame frame;
};

/// Pages that lie one after the other both in the address space and in the file.
struct Run {
    std::uint64_t address;
    std::uint64_t slot; ///< place in the file, in pages
    std::uint64_t pages;
};

/// Holds a domain still for as long as it lives.
class Standstill {
public:
    Standstill(control::DomainControl& control, const control::DomainInfo& info)
        : control_{control}, domain_{info.domain}, is_ours_{(info.flags & (CERO_DOMINF_paused |
                                                                           CERO_DOMINF_shutdown)) ==
                                                            0} {
        if (is_ours_)
            control_.pause(domain_);
    }
    ~Standstill() {
        try {
            if (is_ours_)
                control_.unpause(domain_);
        } catch (const Error&) { // it was destroyed meanwhile
        }
    }
    Standstill(const Standstill&) = delete;
    Standstill& operator=(const Standstill&) = delete;

private:
    control::DomainControl& control_;
    cero_domid domain_;
    bool is_ours_;
};

/// What the page tables say, and where each page goes in the file.
class AddressSpace {
public:
    AddressSpace(control::DomainControl& control, const control::DomainInfo& info)
        : control_{control}, domain_{info.domain}, entries_max_{4 * info.tot_pages + 4096} {}

    void walk(cero_frame root) {
        constexpr unsigned top_level = 4;
        std::vector<Mapped> tables{{0, root}};
        for (unsigned level = top_level; level >= 1; --level)
            tables = owned_only(entries_of(few_of_each(std::move(tables)), level));
        place(tables);
    }

    std::vector<cero_frame> frames; ///< by place in the file
    std::vector<Run> runs;
    bool is_whole{true};

private:
    /// At most `entries_max_`: a hostile guest may share its tables in a tree that never ends.
    std::vector<Mapped> entries_of(const std::vector<Mapped>& tables, unsigned level) {
        constexpr std::uint64_t present = 1, frame_mask = 0x000ffffffffff000;
        const unsigned shift = 12 + 9 * (level - 1);
        std::vector<Mapped> found;
        for (std::size_t first = 0; first < tables.size(); first += map_batch) {
            std::vector<cero_frame> batch;
            for (std::size_t i = first; i < std::min(tables.size(), first + map_batch); ++i)
                batch.push_back(tables[i].frame);
            const control::Mapping mapping = control_.map(domain_, batch, false);
            for (std::size_t i = 0; i < batch.size(); ++i) {
                const auto* table =
                    reinterpret_cast<const std::uint64_t*>(mapping.data() + i * page_size);
                for (std::size_t n = 0; n < entries_per_table; ++n) {
                    const std::size_t slot =
                        level == 4 ? (n + upper_half_slot) % entries_per_table : n;
                    const bool is_hypervisors =
                        level == 4 && slot >= hypervisor_first_slot && slot < hypervisor_end_slot;
                    if ((table[slot] & present) == 0 || is_hypervisors)
                        continue;
                    if (found.size() >= entries_max_) {
                        is_whole = false;
                        return found;
                    }
                    const std::uint64_t sign =
                        level == 4 && slot >= upper_half_slot ? 0xffff000000000000 : 0;
                    found.push_back({tables[first + i].address | sign | slot << shift,
                                     (table[slot] & frame_mask) >> 12});
                }
            }
        }
        return found;
    }

    /// Without what is shared with others (grants, the shared information page of somebody else).
    std::vector<Mapped> owned_only(std::vector<Mapped> all) {
        std::vector<cero_frame> asked;
        for (const Mapped& entry : all)
            asked.push_back(entry.frame);
        const std::vector<bool> owned = control_.owned_frames(domain_, asked);
        std::vector<Mapped> kept;
        for (std::size_t i = 0; i < all.size(); ++i)
            if (owned[i])
                kept.push_back(all[i]);
        return kept;
    }

    /// Linux fills the holes of its physical-to-machine list with one table, mapped hundreds of
    /// times.
    static std::vector<Mapped> few_of_each(std::vector<Mapped> tables) {
        constexpr unsigned enough = 2;
        std::unordered_map<cero_frame, unsigned> seen;
        std::erase_if(tables, [&](const Mapped& table) { return ++seen[table.frame] > enough; });
        return tables;
    }

    void place(const std::vector<Mapped>& pages) {
        std::unordered_map<cero_frame, std::uint64_t> slots;
        for (const Mapped& page : pages) {
            const auto [at, is_new] = slots.emplace(page.frame, frames.size());
            if (is_new)
                frames.push_back(page.frame);
            const bool continues =
                !runs.empty() &&
                runs.back().address + runs.back().pages * page_size == page.address &&
                runs.back().slot + runs.back().pages == at->second;
            if (continues)
                ++runs.back().pages;
            else
                runs.push_back({page.address, at->second, 1});
        }
    }

    control::DomainControl& control_;
    cero_domid domain_;
    std::size_t entries_max_;
};

void add_note(std::string& notes, std::uint32_t type, const void* content, std::size_t bytes) {
    constexpr char owner[8] = "CORE"; // padded to a multiple of four
    const Elf64_Nhdr header{5, static_cast<std::uint32_t>(bytes), type};
    notes.append(reinterpret_cast<const char*>(&header), sizeof header);
    notes.append(owner, sizeof owner);
    notes.append(static_cast<const char*>(content), bytes);
    notes.resize((notes.size() + 3) & ~std::size_t{3});
}

/// One thread of the core. User mode keeps the user's segment base in GS, kernel mode the kernel's.
void add_vcpu(std::string& notes, unsigned vcpu, const cero_vcpu_guest_context& context) {
    const cero_cpu_user_regs& from = context.user_regs;
    elf_prstatus status{};
    status.pr_pid = static_cast<pid_t>(vcpu + 1); // gdb takes 0 for "none"
    user_regs_struct regs{};
    regs.r15 = from.r15;
    regs.r14 = from.r14;
    regs.r13 = from.r13;
    regs.r12 = from.r12;
    regs.rbp = from.rbp;
    regs.rbx = from.rbx;
    regs.r11 = from.r11;
    regs.r10 = from.r10;
    regs.r9 = from.r9;
    regs.r8 = from.r8;
    regs.rax = from.rax;
    regs.rcx = from.rcx;
    regs.rdx = from.rdx;
    regs.rsi = from.rsi;
    regs.rdi = from.rdi;
    regs.orig_rax = ~0ull;
    regs.rip = from.rip;
    regs.cs = from.cs;
    regs.eflags = from.rflags;
    regs.rsp = from.rsp;
    regs.ss = from.ss;
    regs.fs_base = context.fs_base;
    regs.gs_base =
        (context.flags & CERO_VGCF_in_kernel) != 0 ? context.gs_base_kernel : context.gs_base_user;
    regs.ds = from.ds;
    regs.es = from.es;
    regs.fs = from.fs;
    regs.gs = from.gs;
    static_assert(sizeof regs == sizeof status.pr_reg);
    std::memcpy(&status.pr_reg, &regs, sizeof regs);
    add_note(notes, NT_PRSTATUS, &status, sizeof status);
    add_note(notes, NT_FPREGSET, context.fpu_ctxt, sizeof context.fpu_ctxt);
}

/// Everything of the file before the pages.
std::string headers(const std::string& notes, const std::vector<Run>& runs) {
    const std::size_t count = runs.size() + 1;
    const bool is_extended = count >= PN_XNUM; // then the count stands in the first section header
    Elf64_Ehdr elf{};
    std::memcpy(elf.e_ident, ELFMAG, SELFMAG);
    elf.e_ident[EI_CLASS] = ELFCLASS64;
    elf.e_ident[EI_DATA] = ELFDATA2LSB;
    elf.e_ident[EI_VERSION] = EV_CURRENT;
    elf.e_type = ET_CORE;
    elf.e_machine = EM_X86_64;
    elf.e_version = EV_CURRENT;
    elf.e_ehsize = sizeof elf;
    elf.e_phentsize = sizeof(Elf64_Phdr);
    elf.e_phoff = sizeof elf + (is_extended ? sizeof(Elf64_Shdr) : 0);
    elf.e_phnum = static_cast<Elf64_Half>(is_extended ? PN_XNUM : count);
    std::string out;
    const auto append = [&](const auto& part) {
        out.append(reinterpret_cast<const char*>(&part), sizeof part);
    };
    if (is_extended) {
        elf.e_shoff = sizeof elf;
        elf.e_shentsize = sizeof(Elf64_Shdr);
        elf.e_shnum = 1;
    }
    append(elf);
    if (is_extended) {
        Elf64_Shdr section{};
        section.sh_info = static_cast<Elf64_Word>(count);
        append(section);
    }
    Elf64_Phdr note{};
    note.p_type = PT_NOTE;
    note.p_offset = elf.e_phoff + count * sizeof(Elf64_Phdr);
    note.p_filesz = notes.size();
    append(note);
    const std::uint64_t pages_at =
        (note.p_offset + notes.size() + page_size - 1) / page_size * page_size;
    for (const Run& run : runs) {
        Elf64_Phdr load{};
        load.p_type = PT_LOAD;
        load.p_flags = PF_R | PF_W | PF_X;
        load.p_vaddr = run.address;
        load.p_offset = pages_at + run.slot * page_size;
        load.p_filesz = load.p_memsz = run.pages * page_size;
        load.p_align = page_size;
        append(load);
    }
    out += notes;
    out.resize(pages_at);
    return out;
}

/// Names in a directory that end in `ending`; none when it cannot be read.
std::vector<std::string> files_with_ending(const std::string& directory, std::string_view ending) {
    std::vector<std::string> names;
    if (DIR* entries = ::opendir(directory.c_str())) {
        while (const dirent* entry = ::readdir(entries))
            if (std::string_view{entry->d_name}.ends_with(ending))
                names.emplace_back(entry->d_name);
        ::closedir(entries);
    }
    return names;
}

/// What the cores of a directory occupy.
std::uint64_t bytes_in_cores(const std::string& directory) {
    const std::string path = directory.empty() ? "./" : directory;
    std::uint64_t sum = 0;
    for (const std::string& name : files_with_ending(path, ".core")) {
        struct stat info {};
        if (::stat((path + name).c_str(), &info) == 0 && S_ISREG(info.st_mode))
            sum += static_cast<std::uint64_t>(info.st_size);
    }
    return sum;
}

/// The file while it is written: gone again unless it is kept.
class Output {
public:
    explicit Output(std::string path)
        : path_{std::move(path)}, partial_{path_ + ".part"},
          file_{open_file(partial_, O_WRONLY | O_CREAT | O_TRUNC, 0600)} {}
    ~Output() {
        if (!is_kept_)
            ::unlink(partial_.c_str());
    }
    Output(const Output&) = delete;
    Output& operator=(const Output&) = delete;

    void reserve(std::uint64_t bytes) const {
        struct statfs info {};
        struct sysinfo memory {};
        if (::fstatfs(file_.get(), &info) != 0 || ::sysinfo(&memory) != 0)
            throw Error{ExitCode::failed,
                        fmt::format("{}: cannot ask for free room: {}", path_, errno_text(errno))};
        const Room room = room_for_core(static_cast<std::uint64_t>(info.f_type), info.f_blocks,
                                        info.f_bavail * static_cast<std::uint64_t>(info.f_bsize),
                                        memory.freeram * std::uint64_t{memory.mem_unit},
                                        bytes_in_cores(path_.substr(0, path_.rfind('/') + 1)));
        if (room.bytes >= bytes)
            return;
        throw Error{ExitCode::failed,
                    fmt::format("{}: the core takes {} MiB, {} MiB {}", path_, (bytes >> 20) + 1,
                                room.bytes >> 20,
                                room.is_memory ? "of the control domain's memory may be used"
                                               : "are free there"),
                    room.is_memory ? "Name a file on a disk (coredump_dir in a configuration), or "
                                     "remove old cores."
                                   : "Name a file on a larger disk, or remove old cores."};
    }
    void write(std::string_view bytes) const {
        if (!write_all(file_.get(), bytes))
            throw Error{ExitCode::failed,
                        fmt::format("{}: cannot write: {}", path_, errno_text(errno)),
                        "Nothing of the core is kept."};
    }
    void keep() {
        if (::rename(partial_.c_str(), path_.c_str()) != 0)
            throw Error{ExitCode::failed, fmt::format("{}: cannot give the core this name: {}",
                                                      path_, errno_text(errno))};
        is_kept_ = true;
    }

private:
    std::string path_, partial_;
    Fd file_;
    bool is_kept_{false};
};

} // namespace

CoreDump dump_core(Machine& machine, cero_domid domain, const std::string& path, bool replace) {
    if (domain == 0)
        throw Error{ExitCode::usage,
                    "domain 0: the control domain cannot stand still for its own core"};
    const auto info = machine.control.domain(domain);
    if (!info || (info->flags & CERO_DOMINF_dying) != 0)
        throw Error{ExitCode::failed, fmt::format("domain {}: it is gone", domain)};
    if (!replace && ::access(path.c_str(), F_OK) == 0)
        throw Error{ExitCode::usage, fmt::format("{}: there is a file of this name", path),
                    "Give another name, or -f to replace it."};
    Output output{path};
    const Standstill standstill{machine.control, *info};
    AddressSpace space{machine.control, *info};
    std::string notes;
    CoreDump result;
    for (unsigned vcpu = 0; info->max_vcpu_id != ~0u && vcpu <= info->max_vcpu_id; ++vcpu) {
        const auto context = machine.control.vcpu_context(domain, vcpu);
        if (!context)
            continue;
        if (result.vcpus++ == 0)
            space.walk(context->ctrlreg[3] / page_size);
        add_vcpu(notes, vcpu, *context);
    }
    if (result.vcpus == 0)
        throw Error{ExitCode::failed,
                    fmt::format("domain {}: none of its vCPUs was ever started", domain)};
    const std::string head = headers(notes, space.runs);
    output.reserve(head.size() + space.frames.size() * page_size);
    output.write(head);
    const std::span<const cero_frame> frames{space.frames};
    for (std::size_t done = 0; done < frames.size(); done += map_batch) {
        const auto part = frames.subspan(done, std::min(map_batch, frames.size() - done));
        const control::Mapping mapping = machine.control.map(domain, part, false);
        output.write({reinterpret_cast<const char*>(mapping.data()), part.size() * page_size});
    }
    output.keep();
    result.pages = frames.size();
    result.mappings = space.runs.size();
    result.is_whole = space.is_whole;
    return result;
}

Room room_for_core(std::uint64_t type, std::uint64_t blocks, std::uint64_t bytes_free,
                   std::uint64_t memory_free, std::uint64_t in_cores) noexcept {
    // No size at all: the root file system of an initramfs.
    const bool is_memory = type == TMPFS_MAGIC || type == RAMFS_MAGIC || blocks == 0;
    if (!is_memory)
        return {bytes_free, false};
    const std::uint64_t half = (memory_free + in_cores) / 2;
    const std::uint64_t most = half > in_cores ? half - in_cores : 0;
    return {blocks == 0 ? most : std::min(bytes_free, most), true};
}

std::string core_directory(const config::DomainConfig& config, std::string_view mounts) {
    if (!config.core_directory.empty())
        return config.core_directory;
    const bool has_disk = mounts.find(fmt::format(" {} ", data_directory)) != mounts.npos;
    return has_disk ? fmt::format("{}/cero-dump", data_directory) : "/var/lib/cero/dump";
}

std::string core_file(const std::string& directory, cero_domid domain, const std::string& name) {
    make_directories(directory);
    for (const std::string& left : files_with_ending(directory, ".core.part"))
        ::unlink((directory + "/" + left).c_str());
    const std::time_t now = std::time(nullptr);
    std::tm parts{};
    ::gmtime_r(&now, &parts);
    char text[32]{};
    (void)std::strftime(text, sizeof text, "%Y%m%d-%H%M%S", &parts);
    return fmt::format("{}/{}-{}.{}.core", directory, text, name, domain);
}

std::vector<std::string> remove_old_cores(const std::string& directory, const std::string& name,
                                          std::size_t count) {
    constexpr std::string_view time_shape = "dddddddd-dddddd-";
    const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
    std::vector<std::string> cores;
    for (std::string& file : files_with_ending(directory, ".core")) {
        const std::size_t number = time_shape.size() + name.size() + 1;
        const std::size_t end = file.size() - std::strlen(".core");
        if (end <= number || file.compare(time_shape.size(), name.size() + 1, name + ".") != 0 ||
            !std::all_of(file.begin() + static_cast<std::ptrdiff_t>(number),
                         file.begin() + static_cast<std::ptrdiff_t>(end), is_digit) ||
            !std::equal(
                time_shape.begin(), time_shape.end(), file.begin(),
                [&](char shape, char c) { return shape == 'd' ? is_digit(c) : c == shape; }))
            continue;
        cores.push_back(directory + "/" + std::move(file));
    }
    const std::size_t time_end = directory.size() + 1 + time_shape.size();
    std::sort(cores.begin(), cores.end(), [&](const std::string& a, const std::string& b) {
        const int order = a.compare(0, time_end, b, 0, time_end);
        return order != 0 ? order < 0 : a.size() != b.size() ? a.size() < b.size() : a < b;
    }); // by the time, and in the same second by the domain's number
    cores.resize(cores.size() - std::min(cores.size(), count));
    std::erase_if(cores, [](const std::string& path) { return ::unlink(path.c_str()) != 0; });
    return cores;
}

} // namespace cero::toolstack
