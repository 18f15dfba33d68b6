// SPDX-License-Identifier: BSD-2-Clause
// Shared by the files of the domain subsystem.
#pragma once

#include <core/domain/domain.hpp>

namespace cero {

/// Gives the domain a slot. exist, nospc.
Status enter_table(Domain& domain);
void leave_table(Domain& domain);
/// The last reference is gone: frees the vCPUs and the domain itself.
void free_domain(Domain& domain);

/// 2^order zeroed pages of hypervisor memory, for objects above a page.
Result<void*> allocate_object(std::size_t bytes);
void free_object(void* object, std::size_t bytes);

/// Gives back what a vCPU holds of its domain's memory: tables, descriptors, vcpu_info page.
void drop_context(Vcpu& current, Vcpu& target);

} // namespace cero
