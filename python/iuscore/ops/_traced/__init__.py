"""The public ops as operators that a compiler and ``vmap`` do not look into, one file an op.

Such a file says how the arguments of its op become lists, and which shapes the results have. It is imported when
`iuscore.ops._backend.traced` first says so, because registering an operator imports PyTorch's compiler. It does not
import its op: the op hands over its public function (`iuscore.ops._backend.public_op`).
"""
