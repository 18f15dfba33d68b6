// SPDX-License-Identifier: BSD-2-Clause
// epoll(7): what the file layer tells it.
#pragma once

#include <kernel/file.hpp>

namespace kernel::epoll {

/// The last reference to a watched file is gone.
void file_closing(File& file) noexcept;

} // namespace kernel::epoll
