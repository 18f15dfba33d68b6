// SPDX-License-Identifier: BSD-2-Clause
// Process 1.
#include "arch/x86_64/user_context.hpp"
#include "mm/address_space.hpp"
#include "process/process.hpp"

#include <kernel/boot.hpp>
#include <kernel/log.hpp>
#include <kernel/memory.hpp>

#include <cstring>

extern "C" {
[[noreturn]] void enter_user(kernel::TrapFrame* frame);
void finish_user_return(kernel::TrapFrame* frame);
}

namespace kernel {

Status run_first_program(const char* path) noexcept;

namespace {

constexpr std::uint64_t unlimited = ~std::uint64_t{0};

void set_limits(Process& process) noexcept {
    for (ResourceLimit& limit : process.limits)
        limit = {unlimited, unlimited};
    process.limits[limit_stack] = {stack_size, unlimited};
    process.limits[limit_nofile] = {1024, 65536};
}

/// Descriptors 0 to 2 on the console.
void open_console(Process& process) noexcept {
    for (int fd = 0; fd < 3; ++fd) {
        auto file = vfs::open("/dev/console", open_flag::rdwr);
        if (!file || !process.files->install(file->clone(), false)) {
            printk(Level::warning, "init starts without /dev/console");
            return;
        }
    }
}

} // namespace

void start_init() noexcept {
    Thread& self = *current();
    void* storage = kzalloc(sizeof(Process));
    auto pid = allocate_pid();
    auto files = FdTable::create();
    auto fs = vfs::root_context();
    if (storage == nullptr || !pid || !files || !fs)
        panic("no memory for process 1");
    auto* process = ::new (storage) Process;
    process->pid = *pid; // in group and session 0 until it asks for its own
    process->start_time = monotonic_ns();
    process->files = static_cast<Ref<FdTable>&&>(*files);
    process->fs = static_cast<Ref<FsContext>&&>(*fs);
    set_limits(*process);
    register_process(process->pid, process);
    register_thread(process->pid, &self);
    all_processes().push_back(*process);
    process->threads.push_back(self);
    process->thread_count = 1;
    self.tid = process->pid;
    self.level = RunLevel::interactive;
    self.process = process;
    open_console(*process);

    const Option option = command_line_option("init");
    char path[128] = "/init";
    if (option.found && option.value.size() < sizeof path) {
        memcpy(path, option.value.data(), option.value.size());
        path[option.value.size()] = '\0';
    }
    if (const Status started = run_first_program(path); !started)
        panic("cannot run %s: error %d", path, static_cast<int>(started.error()));
    TrapFrame& frame = self.user_frame();
    finish_user_return(&frame);
    enter_user(&frame);
}

} // namespace kernel
