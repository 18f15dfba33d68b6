// SPDX-License-Identifier: BSD-2-Clause
// exec: loading a program (ELF or script) into a fresh address space.
#include "arch/x86_64/cpu.hpp"
#include "arch/x86_64/user_context.hpp"
#include "fs/random.hpp"
#include "mm/address_space.hpp"
#include "process/elf.hpp"
#include "process/process.hpp"

#include <kernel/log.hpp>
#include <kernel/sync.hpp>
#include <kernel/syscall.hpp>

#include <cero/abi/trap.h>

#include <cstring>

namespace kernel {
namespace {

constexpr std::size_t max_string_bytes = 512 * 1024;
constexpr unsigned max_strings = 32768;
constexpr std::size_t head_bytes = 1024; ///< header, program headers, or the first line of a script
constexpr unsigned max_script_depth = 4;
constexpr UserAddress interpreter_base = 0x7e'0000'0000;

struct Program {
    UserAddress entry;
    UserAddress program_headers;
    std::uint64_t header_count;
    UserAddress program_entry; ///< of the program itself when an interpreter starts first
    UserAddress interpreter;
    UserAddress end;
};

std::uint32_t protection_of(const ElfSegment& segment) noexcept {
    return ((segment.flags & elf_read) != 0 ? protection::read : 0) |
           ((segment.flags & elf_write) != 0 ? protection::write : 0) |
           ((segment.flags & elf_exec) != 0 ? protection::exec : 0);
}

Status map_segment(AddressSpace& space, File& file, const ElfSegment& segment,
                   std::uint64_t bias) noexcept {
    const UserAddress start = page_down(segment.address) + bias;
    const UserAddress data_end = segment.address + segment.file_size + bias;
    const UserAddress end = page_up(segment.address + segment.memory_size) + bias;
    const UserAddress file_end = page_up(data_end);
    MapRequest request{};
    request.protection = protection_of(segment);
    request.fixed = true;
    if (segment.file_size != 0) {
        request.address = start;
        request.size = file_end - start;
        request.file = &file;
        request.page_index = segment.offset >> page_shift;
        static_cast<void>(TRY(space.map(request)));
    }
    const UserAddress zero_start = segment.file_size != 0 ? file_end : start;
    if (end > zero_start) {
        request.address = zero_start;
        request.size = end - zero_start;
        request.file = nullptr;
        request.page_index = 0;
        static_cast<void>(TRY(space.map(request)));
    }
    // The tail of the last page of file data belongs to zeroed memory.
    if (segment.memory_size > segment.file_size && segment.file_size != 0 &&
        (data_end & page_mask) != 0 && (segment.flags & elf_write) != 0) {
        static const char zeros[page_size] = {};
        const std::size_t tail = file_end - data_end;
        if (space.access(data_end, const_cast<char*>(zeros), tail, true) != tail)
            return Errno::nomem;
    }
    return {};
}

Result<Program> map_image(AddressSpace& space, File& file, const ElfImage& image,
                          UserAddress base) noexcept {
    const std::uint64_t bias = image.relocatable ? base - image.low : 0;
    if (!image.relocatable && (image.low < mmap_bottom || image.high > mmap_top))
        return Errno::noexec;
    for (unsigned i = 0; i < image.load_count; ++i)
        TRY(map_segment(space, file, image.loads[i], bias));
    Program program{};
    program.entry = program.program_entry = image.entry + bias;
    program.program_headers = image.program_headers == 0 ? 0 : image.program_headers + bias;
    program.header_count = image.header_count;
    program.end = image.high + bias;
    return program;
}

Result<Program> load_program(AddressSpace& space, File& file, const ElfImage& image) noexcept {
    Program program = TRY(map_image(space, file, image, pie_base));
    if (image.interpreter_size != 0) {
        char path[256];
        if (image.interpreter_size >= sizeof path)
            return Errno::noexec;
        const std::size_t got =
            TRY(file.read_at(path, image.interpreter_size, image.interpreter_offset));
        path[got] = '\0';
        Ref<File> interpreter = TRY(vfs::open_executable(path));
        char head[head_bytes];
        const std::size_t size = TRY(interpreter->read_at(head, sizeof head, 0));
        const ElfImage parsed = TRY(parse_elf(head, size, interpreter->inode->size));
        const Program loaded = TRY(map_image(space, *interpreter, parsed, interpreter_base));
        program.entry = loaded.entry;
        program.interpreter = interpreter_base;
    }
    return program;
}

/// Builds strings, vectors and auxiliary values at the top of the stack; yields the stack pointer.
Result<UserAddress> build_stack(AddressSpace& space, const ExecStrings& strings,
                                const Program& program, const char* path) noexcept {
    const Process& process = *current_process();
    static const char platform[] = "x86_64";
    struct {
        std::uint8_t random[16];
        char platform[8];
    } tail{};
    memcpy(tail.platform, platform, sizeof platform);
    random_bytes(tail.random, sizeof tail.random);

    const std::size_t path_size = strlen(path) + 1;
    const UserAddress path_at = stack_top - 8 - path_size;
    const UserAddress strings_at = path_at - strings.size;
    const UserAddress tail_at = (strings_at - sizeof tail) & ~std::uint64_t{15};

    struct Auxiliary {
        std::uint64_t type, value;
    };
    const Credentials& who = process.credentials;
    const Auxiliary auxiliary[] = {
        {3, program.program_headers},
        {4, sizeof(ElfSegment)},
        {5, program.header_count},
        {6, page_size},
        {7, program.interpreter},
        {8, 0},
        {9, program.program_entry},
        {11, who.uid},
        {12, who.euid},
        {13, who.gid},
        {14, who.egid},
        {15, tail_at + 16},
        {16, cpuid(1).edx},
        {17, 100},
        {23, 0},
        {25, tail_at},
        {26, 0},
        {31, path_at},
        {0, 0},
    };
    const std::size_t words = 1 + strings.argument_count + 1 + strings.environment_count + 1;
    const std::size_t size = words * 8 + sizeof auxiliary;
    const UserAddress stack = (tail_at - size) & ~std::uint64_t{15};
    auto* vector = static_cast<std::uint64_t*>(kmalloc(size));
    if (vector == nullptr)
        return Errno::nomem;
    std::size_t at = 0;
    vector[at++] = strings.argument_count;
    const char* text = strings.text;
    for (unsigned i = 0; i < strings.argument_count + strings.environment_count; ++i) {
        if (i == strings.argument_count)
            vector[at++] = 0;
        vector[at++] = strings_at + static_cast<std::size_t>(text - strings.text);
        text += strlen(text) + 1;
    }
    if (strings.environment_count == 0)
        vector[at++] = 0;
    vector[at++] = 0;
    memcpy(vector + at, auxiliary, sizeof auxiliary);

    const auto put = [&space](UserAddress to, const void* from, std::size_t bytes) {
        return space.access(to, const_cast<void*>(from), bytes, true) == bytes;
    };
    const bool good = put(path_at, path, path_size) &&
                      put(strings_at, strings.text, strings.size) &&
                      put(tail_at, &tail, sizeof tail) && put(stack, vector, size);
    kfree(vector);
    if (!good)
        return Errno::nomem;
    space.arguments_start = strings_at;
    space.arguments_end = space.environment_start = strings_at + strings.arguments_size;
    space.environment_end = path_at;
    return stack;
}

/// Puts strings in front of the arguments; `drop_first` removes the old first argument.
Status prepend(ExecStrings& strings, const char* first, const char* second, const char* third,
               bool drop_first) noexcept {
    const std::size_t dropped =
        drop_first && strings.argument_count != 0 ? strlen(strings.text) + 1 : 0;
    const char* const parts[] = {first, second, third};
    std::size_t added = 0;
    for (const char* part : parts)
        added += part == nullptr ? 0 : strlen(part) + 1;
    if (strings.size - dropped + added > strings.capacity) {
        auto* larger = static_cast<char*>(krealloc(strings.text, strings.size + added));
        if (larger == nullptr)
            return Errno::nomem;
        strings.text = larger;
        strings.capacity = strings.size + added;
    }
    memmove(strings.text + added, strings.text + dropped, strings.size - dropped);
    char* at = strings.text;
    for (const char* part : parts) {
        if (part == nullptr)
            continue;
        memcpy(at, part, strlen(part) + 1);
        at += strlen(part) + 1;
        ++strings.argument_count;
    }
    if (dropped != 0)
        --strings.argument_count;
    strings.size += added - dropped;
    strings.arguments_size += added - dropped;
    return {};
}

struct Script {
    char interpreter[256];
    char argument[256];
};

/// "#! interpreter [argument]"
Result<Script> parse_script(const char* head, std::size_t size) noexcept {
    Script script{};
    std::size_t at = 2;
    const auto skip_blanks = [&] {
        while (at < size && (head[at] == ' ' || head[at] == '\t'))
            ++at;
    };
    const auto is_end = [&] { return at >= size || head[at] == '\n' || head[at] == '\0'; };
    skip_blanks();
    std::size_t length = 0;
    for (;
         !is_end() && head[at] != ' ' && head[at] != '\t' && length + 1 < sizeof script.interpreter;
         ++at)
        script.interpreter[length++] = head[at];
    skip_blanks();
    std::size_t argument = 0;
    for (; !is_end() && argument + 1 < sizeof script.argument; ++at)
        script.argument[argument++] = head[at];
    while (argument > 0 &&
           (script.argument[argument - 1] == ' ' || script.argument[argument - 1] == '\t'))
        script.argument[--argument] = '\0';
    if (length == 0)
        return Errno::noexec;
    return script;
}

/// Other threads of the process end before the program is replaced.
void become_only_thread() noexcept {
    Thread& self = *current();
    Process& process = *self.process;
    while (process.thread_count > 1) {
        {
            EventGuard guard;
            for (Thread& thread : process.threads) {
                if (&thread == &self)
                    continue;
                thread.kill_pending = true;
                thread.signal_check = true;
                if (thread.state == ThreadState::interruptible ||
                    thread.state == ThreadState::stopped)
                    make_runnable(thread);
            }
        }
        sleep_ns(ns_per_ms);
    }
    if (self.tid != process.pid) { // the survivor takes the process' id
        release_pid(self.tid);
        self.tid = process.pid;
        register_thread(self.tid, &self);
    }
}

void set_name(Process& process, const char* path) noexcept {
    const char* name = path;
    for (const char* at = path; *at != '\0'; ++at)
        if (*at == '/' && at[1] != '\0')
            name = at + 1;
    Thread& self = *current();
    std::size_t i = 0;
    for (; i + 1 < sizeof process.name && name[i] != '\0' && name[i] != '/'; ++i)
        process.name[i] = self.name[i] = name[i];
    process.name[i] = self.name[i] = '\0';
}

void apply_set_id(Process& process, const File& file) noexcept {
    const Inode& inode = *file.inode;
    Credentials& who = process.credentials;
    if ((inode.mode & mode::set_uid) != 0)
        who.euid = inode.uid;
    if ((inode.mode & mode::set_gid) != 0)
        who.egid = inode.gid;
    who.suid = who.euid;
    who.sgid = who.egid;
}

/// From here on the old program is gone.
void commit(AddressSpace& space, const Program& program, UserAddress stack, Ref<File> file,
            const char* path) noexcept {
    Thread& self = *current();
    Process& process = *self.process;
    become_only_thread();
    space.break_start = space.break_end = page_up(program.end);
    apply_set_id(process, *file);
    space.executable = static_cast<Ref<File>&&>(file);
    AddressSpace* old = process.space;
    {
        EventGuard guard;
        process.space = &space;
        self.fs_base = self.gs_base = 0;
        self.clear_tid = self.robust_list = 0;
        self.signal_stack = {};
        if (old != nullptr)
            load_user_context(self);
    }
    process.has_executed = true;
    reset_handlers(process);
    reset_fpu(self);
    if (old == nullptr) {
        EventGuard guard;
        load_user_context(self);
    }
    finish_vfork(process);
    if (old != nullptr)
        old->put();
    if (process.files->references() > 1)
        if (auto own = process.files->duplicate())
            process.files = static_cast<Ref<FdTable>&&>(*own);
    process.files->close_on_exec();
    set_name(process, path);
    TrapFrame& frame = self.user_frame();
    frame = {};
    frame.rip = program.entry;
    frame.rsp = stack;
    frame.cs = CERO_FLAT_RING3_CS64;
    frame.ss = CERO_FLAT_RING3_SS;
    frame.rflags = rflags_interrupt;
}

} // namespace

Status execute(const char* path, const Path* at, ExecStrings& strings) noexcept {
    Ref<File> file = TRY(vfs::open_executable(path, at));
    char name[256];
    std::size_t length = 0;
    for (; path[length] != '\0' && length + 1 < sizeof name; ++length)
        name[length] = path[length];
    name[length] = '\0';
    char head[head_bytes];
    std::size_t size = TRY(file->read_at(head, sizeof head, 0));
    Script script;
    for (unsigned depth = 0; size >= 2 && head[0] == '#' && head[1] == '!'; ++depth) {
        if (depth == max_script_depth)
            return Errno::loop;
        auto parsed = parse_script(head, size);
        script = TRY(static_cast<Result<Script>&&>(parsed));
        TRY(prepend(strings, script.interpreter,
                    script.argument[0] != '\0' ? script.argument : nullptr, name, true));
        file = TRY(vfs::open_executable(script.interpreter));
        memcpy(name, script.interpreter, sizeof name);
        size = TRY(file->read_at(head, sizeof head, 0));
    }
    const ElfImage image = TRY(parse_elf(head, size, file->inode->size));
    AddressSpace* space = TRY(AddressSpace::create());
    const auto build = [&]() -> Result<UserAddress> {
        const Program program = TRY(load_program(*space, *file, image));
        MapRequest request{};
        request.address = stack_top - stack_size;
        request.size = stack_size;
        request.protection = protection::read | protection::write;
        request.fixed = true;
        static_cast<void>(TRY(space->map(request)));
        const UserAddress stack = TRY(build_stack(*space, strings, program, name));
        space->activate();
        commit(*space, program, stack, static_cast<Ref<File>&&>(file), path);
        return stack;
    };
    const auto built = build();
    if (!built) {
        space->put();
        return built.error();
    }
    return {};
}

namespace {

/// Copies a vector of strings from user memory behind those there already.
Result<unsigned> copy_strings(ExecStrings& strings, UserAddress vector) noexcept {
    unsigned count = 0;
    for (; vector != 0; ++count) {
        const auto address = TRY(read_user<UserAddress>(vector + count * sizeof(UserAddress)));
        if (address == 0)
            break;
        if (count == max_strings)
            return Errno::too_big;
        for (;;) {
            const std::size_t room = strings.capacity - strings.size;
            const auto length =
                room == 0 ? Result<std::size_t>{Errno::nametoolong}
                          : copy_string_from_user(strings.text + strings.size, address, room);
            if (length) {
                strings.size += *length + 1;
                break;
            }
            if (length.error() != Errno::nametoolong)
                return length.error();
            if (strings.capacity >= max_string_bytes)
                return Errno::too_big;
            auto* larger = static_cast<char*>(krealloc(strings.text, strings.capacity * 2));
            if (larger == nullptr)
                return Errno::nomem;
            strings.text = larger;
            strings.capacity *= 2;
        }
    }
    return count;
}

Status exec_from_user(const Path* at, UserAddress path, UserAddress arguments,
                      UserAddress environment) noexcept {
    constexpr std::size_t first_capacity = 4096;
    constexpr std::size_t path_capacity = 4096;
    auto* name = static_cast<char*>(kmalloc(path_capacity));
    ExecStrings strings{static_cast<char*>(kmalloc(first_capacity)), 0, first_capacity, 0, 0, 0};
    const auto run = [&]() -> Status {
        if (name == nullptr || strings.text == nullptr)
            return Errno::nomem;
        static_cast<void>(TRY(copy_string_from_user(name, path, path_capacity)));
        strings.argument_count = TRY(copy_strings(strings, arguments));
        strings.arguments_size = strings.size;
        strings.environment_count = TRY(copy_strings(strings, environment));
        if (strings.argument_count == 0) // programs count on a name
            TRY(prepend(strings, "", nullptr, nullptr, false));
        return execute(name, at, strings);
    };
    const Errno error = run().error();
    kfree(name);
    kfree(strings.text);
    return error;
}

Status sys_execve(UserAddress path, UserAddress arguments, UserAddress environment) {
    return exec_from_user(nullptr, path, arguments, environment);
}
CERO_SYSCALL(59, execve);

Status sys_execveat(int directory, UserAddress path, UserAddress arguments, UserAddress environment,
                    int flags) {
    constexpr int current_directory = -100;
    constexpr int empty_path = 0x1000;
    if (directory == current_directory)
        return exec_from_user(nullptr, path, arguments, environment);
    if ((flags & empty_path) != 0)
        return Errno::nosys;
    const Ref<File> file = TRY(current_files().lookup(directory));
    const Path at = file->path.clone();
    return exec_from_user(&at, path, arguments, environment);
}
CERO_SYSCALL(322, execveat);

} // namespace

Status run_first_program(const char* path) noexcept {
    static const char text_environment[] = "HOME=/\0TERM=vt102\0PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    const std::size_t path_size = strlen(path) + 1;
    const std::size_t size = path_size + sizeof text_environment;
    ExecStrings strings{static_cast<char*>(kmalloc(size)), size, size, 1, 3, path_size};
    if (strings.text == nullptr)
        return Errno::nomem;
    memcpy(strings.text, path, path_size);
    memcpy(strings.text + path_size, text_environment, sizeof text_environment);
    const Errno error = execute(path, nullptr, strings).error();
    kfree(strings.text);
    return error;
}

} // namespace kernel
