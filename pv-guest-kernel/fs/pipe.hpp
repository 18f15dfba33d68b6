// SPDX-License-Identifier: BSD-2-Clause
// Pipes: pipe2(2) and FIFOs.
#pragma once

#include <kernel/file.hpp>

namespace kernel::pipe {

struct Ends {
    Ref<File> reader;
    Ref<File> writer;
};
Result<Ends> create(std::uint32_t flags) noexcept;
/// Behaviour of an opened FIFO node.
FileOps& fifo_ops() noexcept;

} // namespace kernel::pipe
